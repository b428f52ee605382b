# gemmark_embed_text(TARGET NAME FILE...): text files as C strings, so that the program finds them
# wherever it is installed. Makes NAME.c with `const char *const NAME[]`, the files' texts in the
# order given, and `const char *const NAME_sha256[]`, the files' SHA-256 in base64, as a page's Content-Security-Policy
# has it; an edit to a file rebuilds it. Run as a script (-P), it writes that file.

# Of the 64 digits of a SHA-256: 12 bits, three digits, are two characters; the last digit, 4 bits, is padded.
function(base64_of_hex hex out)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  set(text "")
  foreach(at RANGE 0 60 3)
    string(SUBSTRING "${hex}" ${at} 3 digits)
    math(EXPR high "0x${digits} >> 6")
    math(EXPR low "0x${digits} & 63")
    string(SUBSTRING "${alphabet}" ${high} 1 first)
    string(SUBSTRING "${alphabet}" ${low} 1 second)
    string(APPEND text "${first}${second}")
  endforeach()
  string(SUBSTRING "${hex}" 63 1 digit)
  math(EXPR last "0x${digit} << 2")
  string(SUBSTRING "${alphabet}" ${last} 1 first)
  set(${out} "${text}${first}=" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  set(entries "")
  set(hashes "")
  string(REPLACE "|" ";" files "${FILES}")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "?" "\\?" text "${text}") # no trigraphs
    string(REPLACE "\t" "\\t" text "${text}")
    string(REPLACE "\n" "\\n\"\n\t\"" text "${text}")
    get_filename_component(base "${file}" NAME)
    file(SHA256 "${file}" hex)
    base64_of_hex("${hex}" hash)
    string(APPEND hashes "\t\"${hash}\",\n")
    string(APPEND entries "\t/* ${base} */\n\t\"${text}\",\n")
  endforeach()
  file(WRITE "${OUTPUT}"
    "extern const char *const ${NAME}[], *const ${NAME}_sha256[];\nconst char *const ${NAME}[] = {\n${entries}};\n"
    "const char *const ${NAME}_sha256[] = {\n${hashes}};\n")
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
