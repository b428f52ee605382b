#include "engine/cuda/cublaslt.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_library.h"

/* cuBLASLt's values. */
enum {
	COMPUTE_32F = 68,
	TYPE_32F = 0,
	TYPE_16F = 2,
	OP_T = 1,
	DESC_TRANSA = 3,
	PREF_WORKSPACE_BYTES = 1,
	PREF_ALIGNMENT_A = 5, /* then B, C, D */
	PREF_ALIGNMENT_D = 8,
	ALIGNMENT = 16, /* that struct gemm promises */
};

enum { PLANS_MAX = 256 };

/* cuBLASLt's: layouts are its ABI. */
struct algorithm {
	uint64_t data[8];
};
struct heuristic {
	struct algorithm algorithm;
	size_t workspace_bytes;
	int state;
	float waves;
	int reserved[4];
};
struct handle;
struct operation;
struct layout;
struct preference;

#define CUBLASLT_FUNCTIONS(X)                                                                                     \
	X(Create, (struct handle * *h))                                                                           \
	X(Destroy, (struct handle * h))                                                                           \
	X(MatmulDescCreate, (struct operation * *o, int compute, int scale_type))                                 \
	X(MatmulDescSetAttribute, (struct operation * o, int attribute, const void *value, size_t bytes))         \
	X(MatmulDescDestroy, (struct operation * o))                                                              \
	X(MatrixLayoutCreate, (struct layout * *l, int type, uint64_t rows, uint64_t columns, int64_t stride))    \
	X(MatrixLayoutDestroy, (struct layout * l))                                                               \
	X(MatmulPreferenceCreate, (struct preference * *p))                                                       \
	X(MatmulPreferenceSetAttribute, (struct preference * p, int attribute, const void *value, size_t bytes))  \
	X(MatmulPreferenceDestroy, (struct preference * p))                                                       \
	X(MatmulAlgoGetHeuristic,                                                                                 \
	  (struct handle * h, struct operation * o, struct layout * a, struct layout * b, struct layout * c,      \
	   struct layout * d, struct preference * p, int wanted, struct heuristic *results, int *found))          \
	X(Matmul, (struct handle * h, struct operation * o, const void *alpha, const void *a, struct layout *la,  \
		   const void *b, struct layout *lb, const void *beta, const void *c, struct layout *lc, void *d, \
		   struct layout *ld, const struct algorithm *algorithm, void *workspace, size_t workspace_bytes, \
		   struct cu_stream *stream))

/* Everything that a shape needs; the key is the first part. */
struct plan {
	int type, y_type, n_in, n_out, n_tokens, x_stride, y_stride;
	size_t workspace_bytes;
	struct layout *w, *x, *y;
	struct algorithm algorithm;
	bool launched;
};

struct cublaslt {
	void *library;
	char path[512];
	const char *(*status_name)(int status);
#define X(name, params) int(*name) params;
	CUBLASLT_FUNCTIONS(X)
#undef X
	struct handle *handle;
	struct operation *operation;
	struct plan plans[PLANS_MAX];
	int n_plans;
	int next; /* plan to replace when all are taken */
};

static int failed(const struct cublaslt *b, const char *call, int status, struct error *err)
{
	return error_set(err, ERROR_DEVICE, "%s: cublasLt%s: %s", b->path, call, b->status_name(status));
}

static int find_functions(struct cublaslt *b, struct error *err)
{
	const struct {
		const char *name;
		void *slot;
	} wanted[] = {
#define X(name, params) {"cublasLt" #name, &b->name},
		CUBLASLT_FUNCTIONS(X)
#undef X
			{"cublasLtGetStatusName", &b->status_name},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *function = dlsym(b->library, wanted[i].name);
		if (!function)
			return error_set(err, ERROR_UNSUPPORTED, "%s has no %s; use cuBLASLt 12 or 13", b->path,
					 wanted[i].name);
		memcpy(wanted[i].slot, &function, sizeof function);
	}
	return 0;
}

int cublaslt_open(struct cublaslt **out, struct error *err)
{
	*out = NULL;
	struct cublaslt *b = calloc(1, sizeof *b);
	if (!b)
		return error_set(err, ERROR_MEMORY, "no memory for cuBLASLt");
	int rc = 0, status;
	b->library = cuda_library_open("libcublasLt.so", b->path, sizeof b->path);
	if (!b->library)
		rc = error_set(err, ERROR_UNSUPPORTED,
			       "no cuBLASLt: neither libcublasLt.so.13 nor .12 is in the loader's path or under "
			       "/usr/local/cuda; install the CUDA toolkit's libcublas");
	if (!rc)
		rc = find_functions(b, err);
	if (!rc && (status = b->Create(&b->handle)))
		rc = failed(b, "Create", status, err);
	if (!rc && (status = b->MatmulDescCreate(&b->operation, COMPUTE_32F, TYPE_32F)))
		rc = failed(b, "MatmulDescCreate", status, err);
	const int transposed = OP_T;
	if (!rc && (status = b->MatmulDescSetAttribute(b->operation, DESC_TRANSA, &transposed, sizeof transposed)))
		rc = failed(b, "MatmulDescSetAttribute", status, err);
	if (rc) {
		cublaslt_close(b);
		return rc;
	}
	*out = b;
	return 0;
}

static void plan_free(struct cublaslt *b, struct plan *p)
{
	if (p->w)
		b->MatrixLayoutDestroy(p->w);
	if (p->x)
		b->MatrixLayoutDestroy(p->x);
	if (p->y)
		b->MatrixLayoutDestroy(p->y);
	*p = (struct plan){0};
}

void cublaslt_close(struct cublaslt *b)
{
	if (!b)
		return;
	for (int i = 0; i < b->n_plans; i++)
		plan_free(b, &b->plans[i]);
	if (b->operation)
		b->MatmulDescDestroy(b->operation);
	if (b->handle)
		b->Destroy(b->handle);
	free(b); /* the library stays mapped: unloading it is not supported while the context lives */
}

static int choose(struct cublaslt *b, struct plan *p, struct error *err)
{
	struct preference *preference = NULL;
	int status = b->MatmulPreferenceCreate(&preference);
	if (status)
		return failed(b, "MatmulPreferenceCreate", status, err);
	const uint32_t alignment = ALIGNMENT;
	const uint64_t workspace = p->workspace_bytes;
	status = b->MatmulPreferenceSetAttribute(preference, PREF_WORKSPACE_BYTES, &workspace, sizeof workspace);
	for (int a = PREF_ALIGNMENT_A; a <= PREF_ALIGNMENT_D && !status; a++)
		status = b->MatmulPreferenceSetAttribute(preference, a, &alignment, sizeof alignment);
	struct heuristic best;
	int found = 0;
	if (!status)
		status = b->MatmulAlgoGetHeuristic(b->handle, b->operation, p->w, p->x, p->y, p->y, preference, 1,
						   &best, &found);
	b->MatmulPreferenceDestroy(preference);
	if (status || found < 1 || best.state)
		return error_set(err, ERROR_DEVICE, "%s: no algorithm for a product of %d x %d by %d tokens: %s",
				 b->path, p->n_out, p->n_in, p->n_tokens, b->status_name(status ? status : best.state));
	p->algorithm = best.algorithm;
	return 0;
}

static int layout_type(enum gemm_type t)
{
	return t == GEMM_F32 ? TYPE_32F : TYPE_16F;
}

static int find_plan(const struct cublaslt *b, const struct gemm *g)
{
	for (int i = 0; i < b->n_plans; i++) {
		const struct plan *p = &b->plans[i];
		if (p->type == (int)g->type && p->y_type == (int)g->y_type && p->n_in == g->n_in &&
		    p->n_out == g->n_out && p->n_tokens == g->n_tokens && p->x_stride == g->x_stride &&
		    p->y_stride == g->y_stride && p->workspace_bytes == g->workspace_bytes)
			return i;
	}
	return -1;
}

/* Seen from cuBLASLt, which is column-major: y (n_out x n_tokens) = w^T (n_in x n_out) * x (n_in x n_tokens). */
static int plan(struct cublaslt *b, const struct gemm *g, struct plan **out, struct error *err)
{
	int found = find_plan(b, g);
	if (found >= 0) {
		*out = &b->plans[found];
		return 0;
	}
	struct plan p = {
		.type = (int)g->type,
		.y_type = (int)g->y_type,
		.n_in = g->n_in,
		.n_out = g->n_out,
		.n_tokens = g->n_tokens,
		.x_stride = g->x_stride,
		.y_stride = g->y_stride,
		.workspace_bytes = g->workspace_bytes,
	};
	int type = layout_type(g->type), status;
	uint64_t in = (uint64_t)g->n_in, rows = (uint64_t)g->n_out, tokens = (uint64_t)g->n_tokens;
	int rc = 0;
	if ((status = b->MatrixLayoutCreate(&p.w, type, in, rows, g->n_in)) ||
	    (status = b->MatrixLayoutCreate(&p.x, type, in, tokens, g->x_stride)) ||
	    (status = b->MatrixLayoutCreate(&p.y, layout_type(g->y_type), rows, tokens, g->y_stride)))
		rc = failed(b, "MatrixLayoutCreate", status, err);
	if (!rc)
		rc = choose(b, &p, err);
	if (rc) {
		plan_free(b, &p);
		return rc;
	}
	int at = b->n_plans;
	if (b->n_plans < PLANS_MAX) {
		b->n_plans++;
	} else {
		at = b->next;
		b->next = (b->next + 1) % PLANS_MAX;
		plan_free(b, &b->plans[at]);
	}
	b->plans[at] = p;
	*out = &b->plans[at];
	return 0;
}

bool cublaslt_is_ready(const struct cublaslt *b, const struct gemm *g)
{
	int found = find_plan(b, g);
	return found >= 0 && b->plans[found].launched;
}

int cublaslt_gemm(struct cublaslt *b, struct cu_stream *stream, const struct gemm *g, struct error *err)
{
	struct plan *p = NULL;
	int rc = plan(b, g, &p, err);
	if (rc)
		return rc;
	const float one = 1, zero = 0;
	int status = b->Matmul(b->handle, b->operation, &one, g->w, p->w, g->x, p->x, &zero, g->y, p->y, g->y, p->y,
			       &p->algorithm, g->workspace, g->workspace_bytes, stream);
	p->launched = !status;
	return status ? failed(b, "Matmul", status, err) : 0;
}
