/* Part of params.h: what the nodes of a graph do to the graph itself. */
#ifndef GEMMARK_KERNELS_PARAMS_GRAPH_H
#define GEMMARK_KERNELS_PARAMS_GRAPH_H

#include "kernels/params_operands.h"
#include "kernels/params_sampling.h"

/* What a node has while the keys are those of a bucket. */
struct patch_variant {
	unsigned grid[3];
	int value; /* of the int at the node's offset */
};

/* A kernel node that depends on the position, or whose grid does. */
struct patch_node {
	void *node;     /* what the device knows it by: a cudaGraphDeviceNode_t; on the host where its params are */
	int ahead;      /* positions that it is ahead of the step */
	int positional; /* whether its params begin with struct at */
	int n_variants; /* 0: its grid is always the same */
	int first;      /* of its variants */
	int offset;     /* in its params, in bytes, of what they change */
	int bucket;     /* that it is set for; negative: none yet */
};

/*
 * at.host of each node = *step, moved ahead; at.device stays null. Variant i of a node is for keys << i keys and fewer,
 * the last one also for more. The nodes are behind this one in its graph.
 */
struct patch_params {
	const struct step *step;
	struct patch_node *nodes; /* (n) */
	const struct patch_variant *variants;
	int n;
	int base; /* position that the nodes were recorded at: what they are ahead of */
	int keys;
	int reserved;
};

/* Where a loop over tokens is. Its nodes read the step. */
struct loop_state {
	struct step step; /* of token number next */
	int next;         /* number of the token that runs, or runs next */
	int end;          /* and of the first one that does not run any more */
	int go;           /* whether the loop goes on */
	int last;         /* a token that ends it where it is chosen; negative: none does */
};

/* What the host sees of a token that is complete. */
struct loop_mark {
	unsigned long long ns; /* of a clock of the device: only differences mean anything; 0: not yet */
	int token;
	int chosen; /* the token behind it, where the loop chooses it; negative: its logits say none */
};

enum loop_how {
	LOOP_ONCE,     /* what follows is not this node's business */
	LOOP_WHILE,    /* the node is in the body of a conditional node */
	LOOP_RELAUNCH, /* its graph was launched on the device and launches itself again */
};

/*
 * The token is complete: marks[next] says when, and the state goes on to the next one, unless that is the end or
 * *stop is not 0. state null: marks[0] alone. The next one is sampled's, where that is not null; one that is wrong, or
 * the state's last, is not gone on to.
 */
struct advance_params {
	struct loop_state *state;
	const int *tokens;             /* by number; else */
	const struct sampled *sampled; /* of the token that is complete */
	struct loop_mark *marks;       /* by number */
	const int *stop;
	unsigned long long handle; /* the conditional node's, where it is in one */
	int how;                   /* enum loop_how */
	int reserved;
};

#endif
