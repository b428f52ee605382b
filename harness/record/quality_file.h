/*
 * The files of `gemmark quality`, whose columns results/SCHEMA.md describes: quality.csv, a row for each text and each
 * way to evict; needles.csv, a row for each needle that was asked for; summary.csv, what they come to over seeds.
 */
#ifndef GEMMARK_HARNESS_RECORD_QUALITY_FILE_H
#define GEMMARK_HARNESS_RECORD_QUALITY_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "harness/record/run_directory.h"

/* What is done to a prompt; engine/infer/kv_policy.h. */
enum quality_policy {
	QUALITY_FULL, /* nothing is evicted */
	QUALITY_SNAPKV,
	QUALITY_RECENCY,
	QUALITY_RANDOM,
	QUALITY_STRIDE,
	QUALITY_POLICIES,
};
extern const char *const quality_policies[QUALITY_POLICIES];

/* When a needle is asked for. */
enum quality_asked {
	QUALITY_BEFORE, /* at the prompt's end, before the eviction, which sees it */
	QUALITY_BEHIND, /* behind the eviction */
	QUALITY_ASKED,
};
extern const char *const quality_asked[QUALITY_ASKED];

enum quality_question {
	QUALITY_VERBATIM,    /* in the needle's own words */
	QUALITY_PARAPHRASED, /* in others */
	QUALITY_QUESTIONS,
};
extern const char *const quality_questions[QUALITY_QUESTIONS];

enum quality_measure {
	QUALITY_KL,
	QUALITY_TOP1,
	QUALITY_PERPLEXITY,
	QUALITY_RATIO, /* of the perplexity to the full cache's */
	QUALITY_EXACT,
	QUALITY_LOGPROB,
	QUALITY_MEASURES,
};
extern const char *const quality_measures[QUALITY_MEASURES];

/* A prompt, and what was done to it. */
struct quality_case {
	int context; /* its tokens, at most */
	enum quality_policy policy;
	int budget; /* entries kept of a KV head of a global layer; -1 of the full cache, as the next two */
	int window; /* the last of them, which every policy keeps */
	int pool;   /* of the vote; -1 of other policies */
};

struct quality_text_row {
	struct quality_case of;
	int seed;         /* number of the text, from 0 */
	int start;        /* its first token's place in the file's */
	int continuation; /* tokens that were scored */
	double kl;        /* mean over them, in nats, of this distribution from the full cache's */
	double kl_max;
	double top1; /* share of them with the full cache's likeliest token */
	double nll;  /* mean negative log probability of the text's own token, in nats */
};

struct quality_needle_row {
	struct quality_case of;
	int seed;
	int needle;   /* of the prompt's, from 0 */
	double depth; /* of its first token in the prompt, in [0, 1) */
	enum quality_asked asked;
	enum quality_question question;
	int value;
	int tokens;     /* of the value */
	int exact;      /* whether each is the likeliest one behind those before it: what greedy decoding gives */
	double logprob; /* of the value, in nats: the sum over its tokens */
};

/* Over seeds, each of which counts once. */
struct quality_summary_row {
	struct quality_case of;
	enum quality_measure measure;
	int asked;    /* of needles: enum quality_asked; -1: no needle */
	int question; /* enum quality_question; -1: all, or no needle */
	int third;    /* of the prompt, from 0, that the needles are in; -1: all */
	int seeds;
	double mean; /* of perplexities: geometric */
	double low;  /* of 95 % */
	double high;
	int best; /* 1: better than each other policy at this budget, and not by chance */
};

/* Growing lists of rows. */
struct quality_rows {
	struct quality_text_row *texts;
	struct quality_needle_row *needles;
	int n_texts, n_needles;
};
void quality_rows_free(struct quality_rows *r);

/* quality.csv and needles.csv while they grow: each row is in its file, and in `rows`, when it is there. */
struct quality_file {
	FILE *texts, *needles;
	struct quality_rows rows;
};
/* Makes both, which must not be there. ERROR_IO. */
int quality_file_open(struct quality_file *f, const struct run_directory *d, struct error *err);
int quality_file_text(struct quality_file *f, const struct quality_text_row *row, struct error *err);
int quality_file_needle(struct quality_file *f, const struct quality_needle_row *row, struct error *err);
/* Also valid on a zeroed struct. ERROR_IO where a write failed; rows stay, for quality_rows_free. */
int quality_file_close(struct quality_file *f, struct error *err);

/* Writes summary.csv whole, in place of one that is there. ERROR_IO. */
int quality_summary_write(const struct run_directory *d, const struct quality_summary_row *rows, int n,
			  struct error *err);
/* Reads it: rows are the caller's to free. ERROR_INPUT where the file is no such one. */
int quality_summary_read(const struct run_directory *d, struct quality_summary_row **rows, int *n, struct error *err);
/* Whether the directory has one. */
bool quality_summary_exists(const struct run_directory *d);

#endif
