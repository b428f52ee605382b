/*
 * What loop.cu and patch.cu ask of a driver, for the emulation: a node is an emulated_node, and calls are counted. C
 * and C++.
 */
#ifndef GEMMARK_TESTS_EMULATED_GRAPH_H
#define GEMMARK_TESTS_EMULATED_GRAPH_H

enum { EMULATED_PARAMS_BYTES = 128 };

struct emulated_node {
	char params[EMULATED_PARAMS_BYTES];
	unsigned grid[3];
	int n_params, n_grids; /* times that either was set */
};

/* Since it was last cleared. */
struct emulated_graph {
	int n_launches;
	int n_conditions;
	unsigned condition;        /* the last one */
	unsigned long long handle; /* that it was of */
};

#ifdef __cplusplus
extern "C" {
#endif
extern struct emulated_graph emulated_graph;
#ifdef __cplusplus
}
#endif

#endif
