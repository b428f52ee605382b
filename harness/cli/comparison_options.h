/* What decides a verdict between two sides, as options: values and help alike in every command that compares. */
#ifndef GEMMARK_HARNESS_CLI_COMPARISON_OPTIONS_H
#define GEMMARK_HARNESS_CLI_COMPARISON_OPTIONS_H

#include "base/error.h"
#include "harness/report/compare.h"
#include "harness/report/compare_output.h"

/* Each sets its part of *o, or returns ERROR_INPUT with a line that names the value. */
int comparison_option_alpha(struct compare_options *o, const char *value, struct error *err);
int comparison_option_delta(struct compare_options *o, const char *value, struct error *err);
int comparison_option_gate(struct compare_options *o, const char *value, struct error *err);
int comparison_option_gate_exact(struct compare_options *o, const char *value, struct error *err);
/* table, md, csv or json: of compare and history. */
int comparison_option_format(enum compare_format *out, const char *value, struct error *err);

/* Entries of a table of options, with the appliers of the command. */
#define COMPARISON_OPTIONS                                                                                            \
	{"--alpha", "PCT",                                                                                            \
	 "chance of a false alarm in a comparison of equal things that the verdicts allow (default 1)", apply_alpha}, \
		{"--delta", "PCT", "smallest change that counts (default 1)", apply_delta},                           \
		{"--gate", "auto|absolute|relative",                                                                  \
		 "absolute: a cell is slower where its own change says so; relative: where it also moved further "    \
		 "than "                                                                                              \
		 "all cells did "                                                                                     \
		 "together. auto: absolute where paired, and where a cell did not move with the others; else "        \
		 "relative, since "                                                                                   \
		 "then all may have moved with the machine (default auto)",                                           \
		 apply_gate},                                                                                         \
	{                                                                                                             \
		"--gate-exact", "LIST",                                                                               \
			"exact quantities of which more is a regression: launches, node-updates, kernels, copies of " \
			"a token; the "                                                                               \
			"same with prompt- in front of it, of a prompt; nodes, weight-bytes, kv-bytes, "              \
			"crossing-bytes; and "                                                                        \
			"evicted and logits, of which any difference is; none (default launches and node-updates of " \
			"both)",                                                                                      \
			apply_gate_exact                                                                              \
	}

#endif
