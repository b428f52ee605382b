/*
 * Whether this build is one under a sanitizer, in which a test takes ten times as long: what only repeats there the
 * code that another of its cases runs is left to the other builds.
 */
#ifndef GEMMARK_TESTS_SUPPORT_SANITIZED_H
#define GEMMARK_TESTS_SUPPORT_SANITIZED_H

/* gcc defines macros, clang has features. */
#if defined(__has_feature)
#define SANITIZER_FEATURE(x) __has_feature(x)
#else
#define SANITIZER_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || SANITIZER_FEATURE(address_sanitizer)
#define SANITIZED_ADDRESS 1
#else
#define SANITIZED_ADDRESS 0
#endif
#if defined(__SANITIZE_THREAD__) || SANITIZER_FEATURE(thread_sanitizer)
#define SANITIZED_THREAD 1
#else
#define SANITIZED_THREAD 0
#endif

enum { SANITIZED = SANITIZED_ADDRESS || SANITIZED_THREAD };

#endif
