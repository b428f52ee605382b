# What ctest --preset ci runs beside the unit tests: the asan build's executables, the same
# tests under memcheck, and scripts. A tool that is missing fails its test by name.

# gemmark_ci_test(NAME LABEL COST TIMEOUT COMMAND ...): one more test, run from tests/. Of those
# waiting, ctest starts the one of the highest cost first: the quick ones have it.
function(gemmark_ci_test name label cost timeout)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS ${label} COST ${cost} TIMEOUT ${timeout} SKIP_RETURN_CODE 77
    ENVIRONMENT "XDG_STATE_HOME=${CMAKE_BINARY_DIR}/state")
endfunction()

set(asan "${PROJECT_SOURCE_DIR}/build/asan")
set(ci "${PROJECT_SOURCE_DIR}/ci")

gemmark_ci_test(asan.golden_derive asan 45 120 "${asan}/tests/golden_derive"
  "${CMAKE_CURRENT_SOURCE_DIR}/golden/gemma4-e4b-tiny.f32.gguf" "${asan}/golden")
set_tests_properties(asan.golden_derive PROPERTIES FIXTURES_SETUP asan_golden)

# Minutes under memcheck, whose threads take turns; ASan runs them all, and memcheck sees
# the engine in the short runs of valgrind.eval and valgrind.sweep.
set(no_valgrind
  bench
  bench_contexts
  bench_output
  bench_pair
  bench_resume
  bench_text
  bench_timeline
  clock_check
  cmd_compare
  cmd_eval
  cmd_generate
  cmd_quality
  compare
  compare_common
  compare_units
  context_store
  device_memory
  eval_text
  far_positions
  generate
  golden
  graph
  host_threads
  host_products_option
  history_check
  history_output
  history_rates
  hybrid
  interrupt
  kernel_cases
  kernels_attention
  kernels_products
  kernels_sample
  kernels_snapkv
  kv_fault
  kv_snapshot
  loaded_model
  lost_device
  merge
  model_flops
  modes
  names
  no_allocation
  overhead
  persistent
  placement_plan
  plot
  prefill_rows
  prefill_weights
  prompt_f16
  prompt_modes
  quality_model
  quantised
  real_model
  recall_model
  redraw
  replay_kernels
  report_budget
  results_directory
  selftest
  session_sample
  snapkv
  splits
  terminal
  token_queue
  tokenizer
  tokenizer_trained
  trained_context
  verdict)
# So does this one, and it looks for addresses in whole params, padding included.
list(APPEND no_valgrind kernels_planted)
# Ten seconds to a minute each under ASan, in code that asan.modes, golden, kv_snapshot, snapkv, bench, cmd_quality and
# kernels_* run.
set(no_asan bench_contexts kernel_cases kernels_planted prefill_rows prompt_f16 prompt_modes recall_model session_sample)
foreach(name IN LISTS names)
  if(name IN_LIST no_asan)
    continue()
  endif()
  if(name IN_LIST gpu_tests)
    continue() # compute-sanitizer has them, see ci/gpu.sh
  endif()
  if(name MATCHES "_emulated$")
    continue() # changes stacks
  endif()
  if(name STREQUAL "real_model" OR name STREQUAL "quality_model" OR name STREQUAL "tokenizer_trained")
    continue() # up to minutes, of what the tests of tiny files see
  endif()
  gemmark_ci_test(asan.${name} asan 40 600 "${asan}/tests/test_${name}")
  set_tests_properties(asan.${name} PROPERTIES FIXTURES_REQUIRED asan_golden)
  if(NOT name IN_LIST no_valgrind)
    gemmark_ci_test(valgrind.${name} valgrind 20 600 "${ci}/valgrind.sh" $<TARGET_FILE:test_${name}>)
    set_tests_properties(valgrind.${name} PROPERTIES FIXTURES_REQUIRED golden)
  endif()
endforeach()
# The longest of them: not last, where a core would wait.
set_tests_properties(valgrind.gguf valgrind.digits valgrind.quality_study PROPERTIES COST 25)

# Each mode once, both fusions, dense and MoE models; 2 threads.
set(ids 2,17,4,99,5,200,31,8)
foreach(run IN ITEMS direct:none:gemma4-26b-a4b direct:full:gemma4-31b graph-params:full:gemma4-e2b
    graph-update:none:gemma4-e2b graph-device:full:gemma4-26b-a4b graph-device:full:qwen3 graph-params:full:gemma3)
  string(REPLACE ":" ";" run "${run}")
  list(GET run 0 mode)
  list(GET run 1 fusion)
  list(GET run 2 model)
  gemmark_ci_test(valgrind.eval.${mode}.${fusion}.${model} valgrind 20 300 "${ci}/valgrind.sh" $<TARGET_FILE:gemmark> eval
    -m "${CMAKE_CURRENT_SOURCE_DIR}/golden/${model}-tiny.q8_0.gguf" --tokens ${ids} --prefill 3 --mode ${mode}
    --fusion ${fusion} -ngl 0 -t 2 --generate 2 --temp 1 --top-k 40 --top-p 0.9)
endforeach()

gemmark_ci_test(valgrind.sweep valgrind 20 300 "${CMAKE_CURRENT_SOURCE_DIR}/ci/valgrind_sweep.sh" $<TARGET_FILE:gemmark>)
set_tests_properties(valgrind.sweep PROPERTIES COST 25)

# Those with threads of their own, the team's and telemetry's, under ThreadSanitizer.
set(tsan "${PROJECT_SOURCE_DIR}/build/tsan")
gemmark_ci_test(tsan.golden_derive tsan 45 120 "${tsan}/tests/golden_derive"
  "${CMAKE_CURRENT_SOURCE_DIR}/golden/gemma4-e4b-tiny.f32.gguf" "${tsan}/golden")
set_tests_properties(tsan.golden_derive PROPERTIES FIXTURES_SETUP tsan_golden)
foreach(name IN ITEMS cpu_team device_host host_threads telemetry token_queue)
  gemmark_ci_test(tsan.${name} tsan 40 1200 "${tsan}/tests/test_${name}")
  set_tests_properties(tsan.${name} PROPERTIES FIXTURES_REQUIRED tsan_golden)
endforeach()

gemmark_ci_test(check.includes check 90 60 "${ci}/check_includes.sh")
gemmark_ci_test(check.includes_catches check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/ci/check_includes.sh")
gemmark_ci_test(check.format check 90 60 "${ci}/check_format.sh")
gemmark_ci_test(check.ci_examples check 60 300 "${CMAKE_CURRENT_SOURCE_DIR}/ci/ci_examples.sh" "${PROJECT_SOURCE_DIR}/build")
gemmark_ci_test(check.compare_commits check 35 600 "${CMAKE_CURRENT_SOURCE_DIR}/ci/compare_commits.sh" $<TARGET_FILE:gemmark_short_sweeps>)
gemmark_ci_test(check.bisect check 35 600 "${CMAKE_CURRENT_SOURCE_DIR}/ci/bisect.sh" $<TARGET_FILE:gemmark_short_sweeps>)
gemmark_ci_test(check.gpu_refusals check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/ci/gpu_refusals.sh")
gemmark_ci_test(check.container check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/ci/container.sh" "${PROJECT_SOURCE_DIR}/build")
gemmark_ci_test(check.real_model check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/ci/real_model.sh")
gemmark_ci_test(check.train_recall check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/ci/train_recall.sh")
gemmark_ci_test(check.cli check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/cli.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.history check 60 120 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/history.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.outputs check 90 60 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/outputs.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.interrupts check 60 600 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/interrupts.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.status check 70 120 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/status.sh" $<TARGET_FILE:gemmark_short_sweeps> "${PROJECT_SOURCE_DIR}/build")
gemmark_ci_test(check.devices check 70 300 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/devices.sh" $<TARGET_FILE:gemmark_short_sweeps> $<TARGET_FILE:gemmark_fake_nvml>)
gemmark_ci_test(check.limits check 60 120 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/limits.sh" $<TARGET_FILE:gemmark_short_sweeps>)
gemmark_ci_test(check.install check 60 600 "${CMAKE_CURRENT_SOURCE_DIR}/ci/install.sh" "${CMAKE_BINARY_DIR}")
gemmark_ci_test(check.slurm_sweep check 50 300 "${CMAKE_CURRENT_SOURCE_DIR}/ci/slurm_sweep.sh" $<TARGET_FILE:gemmark_short_sweeps>)
gemmark_ci_test(check.next_lines check 40 120 "${CMAKE_CURRENT_SOURCE_DIR}/harness/cli/next_lines.sh" $<TARGET_FILE:gemmark_short_sweeps>)
# The usual architecture by the newer NVRTC in full; by the older the oldest one, each source and each type of weights.
gemmark_ci_test(check.nvrtc13.sm_90 check 30 600 "${CMAKE_CURRENT_SOURCE_DIR}/kernels/compile_kernels.sh"
  $<TARGET_FILE:gemmark> 13 sm_90)
gemmark_ci_test(check.nvrtc12.sm_80 check 30 600 "${CMAKE_CURRENT_SOURCE_DIR}/kernels/compile_kernels.sh" --few-types
  $<TARGET_FILE:gemmark> 12 sm_80)
if(GEMMARK_NVCC)
  gemmark_ci_test(check.nvcc check 30 300 "${CMAKE_COMMAND}" --build "${CMAKE_BINARY_DIR}" --target cuda_nvcc -j 1)
else()
  gemmark_ci_test(check.nvcc check 90 60 sh -c "echo skipped: there is no nvcc here; exit 77")
endif()
# One after the other: not last, where a core would wait for them.
gemmark_ci_test(fuzz.gguf fuzz 50 300 "${ci}/fuzz.sh" 8)
gemmark_ci_test(fuzz.results fuzz 50 300 "${ci}/fuzz.sh" 5 results)
gemmark_ci_test(fuzz.history fuzz 50 300 "${ci}/fuzz.sh" 5 history)
gemmark_ci_test(fuzz.status fuzz 50 300 "${ci}/fuzz.sh" 3 status)
gemmark_ci_test(fuzz.tokenizer fuzz 50 300 "${ci}/fuzz.sh" 8 tokenizer)
set_tests_properties(fuzz.gguf fuzz.history fuzz.results fuzz.status fuzz.tokenizer PROPERTIES RESOURCE_LOCK fuzz_build)
gemmark_ci_test(check.report_html check 50 180 "${CMAKE_CURRENT_SOURCE_DIR}/ci/report_html.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.results_commands check 50 120 "${CMAKE_CURRENT_SOURCE_DIR}/ci/results_commands.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.doc_commands check 50 600 "${CMAKE_CURRENT_SOURCE_DIR}/ci/doc_commands.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(check.report_markdown check 60 120 "${CMAKE_CURRENT_SOURCE_DIR}/ci/report_markdown.sh" $<TARGET_FILE:gemmark>)
gemmark_ci_test(demo.short demo 5 300 "${CMAKE_CURRENT_SOURCE_DIR}/ci/demo.sh" $<TARGET_FILE:gemmark>)
# Both build in build/release.
set_tests_properties(check.nvcc demo.short PROPERTIES RESOURCE_LOCK release_build)
