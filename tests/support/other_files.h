/* Files that are whole and no model of the engine's, each of another kind, most of them without a vocabulary. */
#ifndef GEMMARK_TESTS_SUPPORT_OTHER_FILES_H
#define GEMMARK_TESTS_SUPPORT_OTHER_FILES_H

/*
 * Calls a command that makes tokens of a text with each of them: it refuses the file in the words of `gemmark eval
 * --tokens`, which asks for no vocabulary, and those say what the file is.
 * words: argv with its null; words[0] the command's name, and `model`, which is written, among them. What is printed
 * goes to files of the folder. Fails the running test.
 */
void other_files_refused(const char *folder, char *model, int (*command)(int, char **), char **words);

#endif
