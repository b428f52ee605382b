/* A session's choice of the next token. */
#include "engine/device/ops.h"
#include "engine/infer/session_internal.h"

int session_sample(struct session *s, const struct sampling_options *o, int *token, struct error *err)
{
	const struct forward *f = pipeline_head(&s->pipeline);
	struct emitter e = {.device = f->device, .err = err};
	struct sampled sampled = {0}, *chosen = &f->scratch.sampler->chosen;
	const float *logits;
	*token = -1;
	if (!s->has_logits)
		return error_set(err, ERROR_INPUT, "no token was run yet: there is nothing to choose the next one by");
	if (s->model->n_vocab > SAMPLING_MOST)
		return error_set(err, ERROR_UNSUPPORTED, "no token can be chosen of %d, but of %d", s->model->n_vocab,
				 SAMPLING_MOST);
	int rc = device_send(f->device, chosen, &sampled, sizeof sampled, err);
	if (rc)
		return rc;
	op_sample(&e, (struct sample_params){
			      .at.host.pos = session_position(s) - 1,
			      .host = sampling_of(o),
			      .logits = f->scratch.logits + (size_t)s->logits_row * (size_t)s->model->n_vocab,
			      .out = chosen,
			      .n = s->model->n_vocab,
		      });
	rc = e.rc ? e.rc : device_download(f->device, &sampled, chosen, sizeof sampled, err);
	if (!rc && sampled.wrong)
		rc = session_logits(s, &logits, err);
	if (!rc)
		*token = sampled.token;
	return rc;
}
