#include "harness/cli/device_list.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/measure/cpu_division.h"
#include "harness/measure/nvml.h"

enum { CPUS_TEXT = 4096, MIB = 1 << 20 };

static const char processor[] = "cpu";

struct cards {
	struct nvml_card *of; /* (n) */
	int n;
	int code; /* why there are none; 0: they are listed */
	struct error why;
};

static void name_card(const struct nvml_card *c, char out[DEVICE_TEXT_SIZE])
{
	if (c->slice < 0)
		snprintf(out, DEVICE_TEXT_SIZE, "%d", c->index);
	else
		snprintf(out, DEVICE_TEXT_SIZE, "%d:%d", c->index, c->slice);
}

/* Where it is: the system's word, or else NVML's. */
static void find_place(const char *root, const struct nvml_card *c, cpu_set_t *cpus, int *node)
{
	if (cpu_list_of_pci(root, c->pci_bus_id, cpus, node))
		*cpus = c->cpus;
}

static int add(struct device_list *l, cpu_set_t *wanted, const char *root, const struct nvml_card *c,
	       const cpu_set_t *allowed, struct error *err)
{
	struct listed_device d = {.node = -1};
	cpu_set_t near;
	if (l->n == DEVICE_LIST_MAX)
		return error_set(err, ERROR_INPUT, "more than %d devices; name fewer", DEVICE_LIST_MAX);
	wanted[l->n] = *allowed;
	if (c) {
		name_card(c, d.name);
		snprintf(d.uuid, sizeof d.uuid, "%s", c->uuid);
		text_name(d.card, sizeof d.card, c->name, strlen(c->name));
		for (int i = 0; i < l->n; i++)
			if (!strcmp(l->of[i].uuid, d.uuid))
				return error_set(err, ERROR_INPUT,
						 "%s is named twice: two processes on one GPU would measure each other",
						 d.name);
		find_place(root, c, &near, &d.node);
		CPU_AND(&near, &near, allowed);
		/* A process that may run elsewhere only, as in a container, measures from there. */
		if (CPU_COUNT(&near))
			wanted[l->n] = near;
	} else {
		int shares = 1;
		for (int i = 0; i < l->n; i++)
			shares += !*l->of[i].uuid;
		snprintf(d.name, sizeof d.name, "%s#%d", processor, shares);
	}
	l->of[l->n++] = d;
	return 0;
}

/* The card that a word names; null with the reason. A UUID may be cut short where it stays one card's. */
static const struct nvml_card *find_card(const struct cards *cards, const char *word, struct error *err)
{
	const struct nvml_card *found = NULL;
	struct text_shown shown = text_show(word, strlen(word));
	char name[DEVICE_TEXT_SIZE];
	bool by_uuid = !strncmp(word, "GPU-", 4) || !strncmp(word, "MIG-", 4);
	for (int i = 0; i < cards->n; i++) {
		name_card(&cards->of[i], name);
		if (by_uuid ? strncmp(cards->of[i].uuid, word, strlen(word)) : strcmp(name, word))
			continue;
		if (found) {
			error_set(err, ERROR_INPUT, "'%s' begins the UUID of several GPUs; write more of it",
				  shown.text);
			return NULL;
		}
		found = &cards->of[i];
	}
	if (found && found->divided) {
		error_set(err, ERROR_INPUT,
			  "GPU %s is divided into slices (MIG), and is no device as a whole; name them: %s:0 or their "
			  "UUIDs, "
			  "which --list-devices prints",
			  shown.text, shown.text);
		return NULL;
	}
	if (!found && cards->code)
		error_set(err, ERROR_INPUT, "'%s': there is no GPU: %s; cpu,cpu divides the processor", shown.text,
			  cards->why.text);
	else if (!found)
		error_set(err, ERROR_INPUT,
			  "'%s' is no GPU of this machine, which --list-devices lists, nor all or cpu", shown.text);
	return found;
}

static int add_all(struct device_list *l, cpu_set_t *wanted, const char *root, const struct cards *cards,
		   const cpu_set_t *allowed, struct error *err)
{
	int rc = 0, before = l->n;
	if (getenv("CUDA_VISIBLE_DEVICES"))
		return error_set(
			err, ERROR_INPUT,
			"all: CUDA_VISIBLE_DEVICES is set, and says which GPUs are there in numbers of its own; name "
			"them here by UUID, or unset it");
	for (int i = 0; i < cards->n && !rc; i++)
		if (!cards->of[i].divided)
			rc = add(l, wanted, root, &cards->of[i], allowed, err);
	if (!rc && l->n == before)
		rc = error_set(err, ERROR_INPUT, "all: there is no GPU%s%s; cpu,cpu divides the processor",
			       cards->code ? ": " : "", cards->why.text);
	return rc;
}

static int parse(const char *list, const struct cards *cards, const char *root, struct device_list *l,
		 struct error *err)
{
	cpu_set_t allowed, wanted[DEVICE_LIST_MAX], cpus[DEVICE_LIST_MAX];
	char word[DEVICE_TEXT_SIZE];
	int rc = 0;
	CPU_ZERO(&allowed);
	sched_getaffinity(0, sizeof allowed, &allowed);
	for (const char *at = list; !rc; at++) {
		size_t n = strcspn(at, ",");
		if (!n || n >= sizeof word)
			return error_set(err, ERROR_INPUT,
					 "'%s' is no list of devices; write 0,1, all, cpu,cpu or UUIDs",
					 text_show(list, strlen(list)).text);
		snprintf(word, sizeof word, "%.*s", (int)n, at);
		const struct nvml_card *card = NULL;
		if (!strcmp(word, "all"))
			rc = add_all(l, wanted, root, cards, &allowed, err);
		else if (!strcmp(word, processor))
			rc = add(l, wanted, root, NULL, &allowed, err);
		else if (!(card = find_card(cards, word, err)))
			rc = ERROR_INPUT;
		else
			rc = add(l, wanted, root, card, &allowed, err);
		at += n;
		if (!*at)
			break;
	}
	if (!rc)
		rc = cpu_divide(root, &allowed, wanted, l->n, cpus, err);
	for (int i = 0; i < l->n && !rc; i++)
		l->of[i].cpus = cpus[i];
	return rc;
}

static void list_cards(const char *library, struct cards *out)
{
	*out = (struct cards){.n = 0};
	out->code = nvml_list(library, &out->of, &out->n, &out->why);
}

int device_list_parse(const char *list, const char *library, const char *root, struct device_list *out,
		      struct error *err)
{
	struct cards cards;
	*out = (struct device_list){.n = 0};
	list_cards(library, &cards);
	int rc = cards.code == ERROR_MEMORY ? error_set(err, ERROR_MEMORY, "%s", cards.why.text)
					    : parse(list, &cards, root, out, err);
	free(cards.of);
	return rc;
}

void device_list_print(const char *library, const char *root, FILE *f)
{
	struct cards cards;
	char name[DEVICE_TEXT_SIZE], cpus[CPUS_TEXT], card[DEVICE_TEXT_SIZE];
	list_cards(library, &cards);
	fprintf(f, "For --devices, several processes side by side:\n");
	for (int i = 0; i < cards.n; i++) {
		const struct nvml_card *c = &cards.of[i];
		cpu_set_t near;
		int node = -1;
		name_card(c, name);
		text_name(card, sizeof card, *c->name ? c->name : "a GPU", *c->name ? strlen(c->name) : 5);
		fprintf(f, "  %s%s: %s, %s", c->slice < 0 ? "" : "  ", name, c->uuid, card);
		if (c->memory_bytes)
			fprintf(f, " (%llu MiB)", c->memory_bytes / MIB);
		if (c->slice < 0) {
			CPU_ZERO(&near);
			find_place(root, c, &near, &node);
			if (*c->pci_bus_id)
				fprintf(f, ", PCI %s", c->pci_bus_id);
			if (node >= 0)
				fprintf(f, ", NUMA node %d", node);
			if (CPU_COUNT(&near))
				fprintf(f, ", CPUs %s", cpu_list_text(&near, cpus, sizeof cpus));
			if (c->divided)
				fprintf(f, "; divided (MIG): %s",
					i + 1 < cards.n && cards.of[i + 1].slice >= 0 ? "name its slices"
										      : "it has no slice yet");
		}
		fputc('\n', f);
	}
	if (!cards.n)
		fprintf(f, "  no GPU%s%s\n", cards.code ? ": " : "", cards.why.text);
	fprintf(f, "  cpu: a share of the processor's cores; cpu,cpu: two of them\n");
	free(cards.of);
}

int device_list_enter(const struct listed_device *d)
{
	if (sched_setaffinity(0, sizeof d->cpus, &d->cpus))
		return -1;
	/* Empty: none. */
	return setenv("CUDA_VISIBLE_DEVICES", d->uuid, 1);
}

/* ---- in a file ---- */

json_t *device_list_json(const struct device_list *l)
{
	json_t *list = json_array();
	for (int i = 0; i < l->n; i++) {
		char cpus[CPUS_TEXT];
		const struct listed_device *d = &l->of[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:s}", "name", d->name, "uuid", d->uuid,
						      "card", d->card, "numa_node", d->node, "cpus",
						      cpu_list_text(&d->cpus, cpus, sizeof cpus)));
	}
	if (json_array_size(list) == (size_t)l->n)
		return list;
	json_decref(list);
	return NULL;
}

static int take(const json_t *o, const char *key, char out[DEVICE_TEXT_SIZE])
{
	const char *text = json_string_value(json_object_get(o, key));
	if (!text || strlen(text) >= DEVICE_TEXT_SIZE)
		return -1;
	text_name(out, DEVICE_TEXT_SIZE, text, strlen(text));
	return strcmp(out, text) ? -1 : 0;
}

int device_list_read(const json_t *o, struct device_list *out)
{
	size_t i;
	json_t *value;
	*out = (struct device_list){.n = 0};
	if (!json_array_size(o) || json_array_size(o) > DEVICE_LIST_MAX)
		return -1;
	json_array_foreach(o, i, value)
	{
		struct listed_device *d = &out->of[out->n++];
		const char *cpus = json_string_value(json_object_get(value, "cpus"));
		d->node = (int)json_integer_value(json_object_get(value, "numa_node"));
		if (take(value, "name", d->name) || take(value, "uuid", d->uuid) || take(value, "card", d->card) ||
		    !cpus || cpu_list_parse(cpus, &d->cpus) || !CPU_COUNT(&d->cpus))
			return -1;
	}
	return 0;
}
