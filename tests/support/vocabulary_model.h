/* A model's file with the vocabulary of another file in the place of its own. */
#ifndef GEMMARK_TESTS_SUPPORT_VOCABULARY_MODEL_H
#define GEMMARK_TESTS_SUPPORT_VOCABULARY_MODEL_H

/* Fails the running test where that does not work. chat: tokenizer.chat_template; null: none. */
void vocabulary_model(const char *model, const char *vocabulary, const char *chat, const char *path);

#endif
