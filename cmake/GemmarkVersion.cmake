# Writes gemmark_version.h: the commit that is built, and whether the tree differs from it.
#
# Included, it defines gemmark_version(DIRECTORY): a target that runs this file as a
# script at every build. The header is touched only when its text changes, so that a
# build without a new commit compiles nothing. Without a git tree (a tarball) the
# commit is "unknown".
if(CMAKE_SCRIPT_MODE_FILE)
  set(commit "unknown")
  set(number -1)
  set(dirty -1)
  find_program(GIT git)
  if(GIT)
    # Only this project's own tree: a tarball unpacked inside another one knows no commit.
    execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" rev-parse --show-toplevel
      OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    file(REAL_PATH "${SOURCE_DIR}" source)
    if(NOT failed AND top STREQUAL source)
      execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" rev-parse --short=10 HEAD
        OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
      if(NOT failed)
        set(commit "${head}")
        execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" rev-list --count HEAD
          OUTPUT_VARIABLE count OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
        if(NOT failed)
          set(number "${count}")
        endif()
        execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" status --porcelain --untracked-files=no
          OUTPUT_VARIABLE changes ERROR_QUIET RESULT_VARIABLE failed)
        if(NOT failed)
          string(COMPARE NOTEQUAL "${changes}" "" dirty)
        endif()
      endif()
    endif()
  endif()
  if(dirty STREQUAL "TRUE" OR dirty STREQUAL "1")
    set(dirty 1)
  elseif(NOT dirty STREQUAL "-1")
    set(dirty 0)
  endif()
  set(label "${commit}")
  if(dirty EQUAL 1)
    string(APPEND label "-dirty")
  endif()
  file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT
"#define GEMMARK_COMMIT \"${commit}\"
#define GEMMARK_COMMIT_NUMBER ${number} /* commits up to this one; -1: unknown */
#define GEMMARK_DIRTY ${dirty} /* 1: changed files, 0: none, -1: unknown */
#define GEMMARK_LABEL \"${label}\" /* the commit, and whether files are changed */
")
  return()
endif()

function(gemmark_version directory)
  add_custom_target(gemmark_version_header
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}" "-DOUTPUT=${directory}/gemmark_version.h"
            -P "${PROJECT_SOURCE_DIR}/cmake/GemmarkVersion.cmake"
    BYPRODUCTS "${directory}/gemmark_version.h"
    COMMENT "Reading the commit")
endfunction()
