/* Lines of a history's file. Include cmocka.h or assert.h before. */
#ifndef GEMMARK_TESTS_SUPPORT_HISTORY_SAMPLE_H
#define GEMMARK_TESTS_SUPPORT_HISTORY_SAMPLE_H

#include <stdio.h>
#include <string.h>

enum { SAMPLE_LINE = 1200 };

/* What a line says; null or 0: as below. */
struct history_sample {
	const char *machine, *commit, *date, *run, *mode, *env, *runs, *more; /* more: members, with a comma behind */
};

/* tg32 of m.gguf in mode direct, 1000 us in one run, of machine box. */
static inline const char *history_sample_line(char out[SAMPLE_LINE], struct history_sample s)
{
	snprintf(
		out, SAMPLE_LINE,
		"{\"v\":1,%s\"machine\":\"%s\",\"commit\":\"%s\",\"date\":\"%s\",\"run\":\"%s\",\"cell\":{\"model\":"
		"\"m.gguf\",\"model_hash\":\"0123456789abcdef\",\"n_gpu_layers\":0,\"type_k\":\"f16\",\"type_v\":"
		"\"f16\",\"n_threads\":2,\"n_ubatch\":512,\"snapkv\":\"off\",\"n_depth\":0,\"n_prompt\":0,\"n_gen\":32,"
		"\"prefill_rows\":\"last\",\"fusion\":\"full\",\"sync\":\"token\",\"prefill_mode\":\"direct\",\"mode\":"
		"\"%s\"},\"metric\":\"itl\",\"unit\":\"us\",\"better\":\"less\",\"runs\":[%s],\"tokens\":32,\"env\":{%"
		"s}}",
		s.more ? s.more : "", s.machine ? s.machine : "box", s.commit ? s.commit : "0123abc",
		s.date ? s.date : "2026-05-31T10:00:00Z", s.run ? s.run : "r1", s.mode ? s.mode : "direct",
		s.runs ? s.runs : "1000", s.env ? s.env : "\"driver\":\"570\"");
	return out;
}

#endif
