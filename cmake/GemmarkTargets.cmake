# Flags that every target of ours gets, and how a test is declared.

add_library(gemmark_flags INTERFACE)
target_include_directories(gemmark_flags INTERFACE "${PROJECT_SOURCE_DIR}")
# xxHash forces inlining that -Og refuses.
target_compile_definitions(gemmark_flags INTERFACE _GNU_SOURCE $<$<CONFIG:Debug>:XXH_NO_INLINE_HINTS=1>)
# snprintf cuts error lines to their buffer on purpose: no -Wformat-truncation.
target_compile_options(gemmark_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wvla $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>)
if(GEMMARK_SANITIZE)
  target_compile_options(gemmark_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(gemmark_flags INTERFACE -fsanitize=address,undefined)
endif()
if(GEMMARK_TSAN)
  target_compile_options(gemmark_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(gemmark_flags INTERFACE -fsanitize=thread)
endif()

# gemmark_test(NAME SOURCE [LIBRARIES ...] [LABELS ...]): one cmocka executable, test_NAME.
function(gemmark_test name source)
  cmake_parse_arguments(arg "" "TIMEOUT" "LIBRARIES;LABELS;ARGS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(test_${name} "${source}")
  target_link_libraries(test_${name} PRIVATE gemmark_flags ${arg_LIBRARIES} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND test_${name} ${arg_ARGS} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/tests")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
    COST 60 SKIP_RETURN_CODE 77
    ENVIRONMENT "XDG_STATE_HOME=${CMAKE_BINARY_DIR}/state") # not the user's calibration
endfunction()
