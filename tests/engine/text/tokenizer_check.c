/* tokenizer_check FILE.gguf PAIRS.json: whether the file's vocabulary makes the tokens of the pairs; see
 * make_tokenizer.py. */
#include <stdio.h>

#include "engine/model/gguf.h"
#include "tests/support/token_pairs.h"

int main(int argc, char **argv)
{
	struct gguf g;
	struct tokenizer *t = NULL;
	struct error err = {""};
	int n = -1;
	if (argc != 3) {
		fprintf(stderr, "usage: tokenizer_check FILE.gguf PAIRS.json\n");
		return 2;
	}
	if (!gguf_open(&g, argv[1], &err) && !tokenizer_open(&t, &g, &err))
		n = token_pairs_check(t, argv[2], &err);
	if (n < 0)
		fprintf(stderr, "tokenizer_check: %s\n", err.text);
	else
		printf("%d texts, all the same\n", n);
	tokenizer_close(t);
	gguf_close(&g);
	return n < 0;
}
