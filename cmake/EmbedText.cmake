# gemmark_embed_text(TARGET NAME FILE...): text files as C strings, so that the program finds them
# wherever it is installed. Makes NAME.c with `const char *const NAME[]`, the files' texts in the
# order given; an edit to a file rebuilds it. Run as a script (-P), it writes that file.

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  set(entries "")
  string(REPLACE "|" ";" files "${FILES}")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "?" "\\?" text "${text}") # no trigraphs
    string(REPLACE "\t" "\\t" text "${text}")
    string(REPLACE "\n" "\\n\"\n\t\"" text "${text}")
    get_filename_component(base "${file}" NAME)
    string(APPEND entries "\t/* ${base} */\n\t\"${text}\",\n")
  endforeach()
  file(WRITE "${OUTPUT}" "extern const char *const ${NAME}[];\nconst char *const ${NAME}[] = {\n${entries}};\n")
  return()
endif()

set(gemmark_embed_text_script "${CMAKE_CURRENT_LIST_FILE}")

function(gemmark_embed_text target name)
  set(output "${CMAKE_CURRENT_BINARY_DIR}/${name}.c")
  list(JOIN ARGN "|" files)
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DNAME=${name}" "-DOUTPUT=${output}" "-DFILES=${files}"
            -P "${gemmark_embed_text_script}"
    DEPENDS ${ARGN} "${gemmark_embed_text_script}"
    VERBATIM)
  target_sources(${target} PRIVATE "${output}")
endfunction()
