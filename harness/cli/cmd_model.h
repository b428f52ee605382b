/* What the two halves of `gemmark model` share. Internal to cmd_model.c and cmd_model_show.c. */
#ifndef GEMMARK_HARNESS_CLI_CMD_MODEL_H
#define GEMMARK_HARNESS_CLI_CMD_MODEL_H

/* argv[0] is "show". Returns the exit code. */
int cmd_model_show(int argc, char **argv);

/* Three digits, a decimal prefix and the unit: "4.85 GB", "10.8 KB", "512 B". */
struct short_text {
	char text[24];
};
struct short_text short_text(double value, const char *unit);

#endif
