/*
 * Whether this build is one under a sanitizer, in which a test takes ten times as long: what only repeats there the
 * code that another of its cases runs is left to the other builds.
 */
#ifndef GEMMARK_TESTS_SUPPORT_SANITIZED_H
#define GEMMARK_TESTS_SUPPORT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif
