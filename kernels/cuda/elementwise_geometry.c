/* Grids of the elementwise kernels. */
#include "kernels/cuda/geometry.h"

int geometry_embed(const struct embed_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_embed, blocks_of(p->table.n_in, 4), p->tokens ? p->n_tokens : 1);
}

int geometry_kv_append(const struct kv_append_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_launch(out, ENTRY_kv_append, (unsigned)p->n_tokens * (unsigned)p->kv.n_kv_heads, 1, 256, 0);
}

int geometry_add(const struct add_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_add, p->n, 1);
}

int geometry_gated(const struct gated_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_gated, p->n, p->n_rows < 65535 ? p->n_rows : 65535);
}

int geometry_softcap(const struct softcap_params *p, const struct cuda_card *card, struct cuda_launch *out)
{
	(void)card;
	return geometry_elements(out, ENTRY_softcap, p->n, 1);
}
