/* Writes the seed of fuzz_history: seed_history OUT_FILE. */
#include "tests/support/history_sample.h"

int main(int argc, char **argv)
{
	char text[SAMPLE_LINE];
	FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
	if (!f) {
		fprintf(stderr, "usage: seed_history OUT_FILE\n");
		return 2;
	}
	fprintf(f, "%s\n", history_sample_line(text, (struct history_sample){.more = "\"order\":3,"}));
	fprintf(f, "%s\r\n", history_sample_line(text, (struct history_sample){.run = "r2", .mode = "graph-device"}));
	fprintf(f, "%s\n",
		history_sample_line(text, (struct history_sample){.run = "r3", .runs = "1,2],\"mads\":[null,1"}));
	fputs("{\"v\":1,\"machine\":\"box\",\"commit\":\"v1\",\"date\":\"2026-05-31\",\"run\":\"r\",\"cell\":{\"name\":"
	      "\"a\"},\"metric\":\"value\",\"unit\":\"ms\",\"better\":\"more\",\"runs\":[1],\"env\":{}}",
	      f);
	return fclose(f) ? 2 : 0;
}
