#include "tests/support/other_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "tests/support/command.h"
#include "tests/support/edited_model.h"
#include "tests/support/folder.h"
#include "tests/support/vocabulary_model.h"

#define MODEL "golden/gemma3-tiny.q8_0.gguf"

static const struct {
	const char *vocabulary; /* null: it has none */
	struct edit edits[2];
	const char *says;
} others[] = {
	{NULL,
	 {{.kind = EDIT_STRING, .name = "general.type", .text = "adapter"},
	  {.kind = EDIT_STRING, .name = "adapter.type", .text = "lora"}},
	 ": is an adapter (lora) for a model of the architecture 'gemma3', not a model; give the model's file"},
	{NULL,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "clip"},
	  {.kind = EDIT_BOOL, .name = "clip.has_vision_encoder", .value = 1}},
	 ": is the encoder and projector of images that goes beside a text model"},
	{NULL,
	 {{.kind = EDIT_STRING, .name = "general.type", .text = "imatrix"}},
	 ": general.type is 'imatrix', not 'model'; give the .gguf of a model"},
	{NULL,
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "controlvector"}},
	 ": is a control vector"},
	{"vectors/tokenizer-llama.gguf",
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "gemma-embedding"}},
	 ": is a model of embeddings ('gemma-embedding')"},
	{"vectors/tokenizer-llama.gguf",
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "nomic-bert"},
	  {.kind = EDIT_STRING, .name = "tokenizer.ggml.model", .text = "bert"}},
	 ": is a model of embeddings ('nomic-bert')"},
	{"vectors/tokenizer-qwen2.gguf",
	 {{.kind = EDIT_STRING, .name = "general.architecture", .text = "llama"},
	  {.kind = EDIT_STRING, .name = "tokenizer.ggml.pre", .text = "llama-bpe"}},
	 ": the architecture 'llama' is not supported; gemma4, gemma3 and qwen3 are"},
};

/* The line on standard error behind the command's name. */
static void read_line(const char *folder, char line[1024])
{
	FILE *f = folder_open(folder, "errors", "r");
	char all[1024] = "";
	all[fread(all, 1, sizeof all - 1, f)] = '\0';
	fclose(f);
	const char *at = strstr(all, ": ");
	assert_non_null(at);
	strcpy(line, at);
}

void other_files_refused(const char *folder, char *model, int (*command)(int, char **), char **words)
{
	char whole[FOLDER_BYTES + 16], wanted[1024], said[1024];
	snprintf(whole, sizeof whole, "%s/whole.gguf", folder);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		if (others[i].vocabulary)
			vocabulary_model(MODEL, others[i].vocabulary, NULL, whole);
		edited_model(others[i].vocabulary ? whole : MODEL, model, others[i].edits,
			     others[i].edits[1].kind ? 2 : 1);
		char *eval[] = {"eval", "-m", model, "-ngl", "0", "--tokens", "2,3", NULL};
		assert_int_equal(command_run(folder, cmd_eval, eval), 2);
		read_line(folder, wanted);
		if (!strstr(wanted, others[i].says))
			fail_msg("expected '%s' in: %s", others[i].says, wanted);
		assert_int_equal(command_run(folder, command, words), 2);
		read_line(folder, said);
		assert_string_equal(said, wanted);
		assert_false(folder_has(folder, "out"));
	}
	remove(whole);
}
