/*
 * ENTRIES(head_dim), the includer's macro, of each head dimension that is compiled for: HEAD_DIM_N says which. No
 * guard: each file has entries of its own.
 */
#ifdef HEAD_DIM_32
ENTRIES(32)
#endif
#ifdef HEAD_DIM_64
ENTRIES(64)
#endif
#ifdef HEAD_DIM_96
ENTRIES(96)
#endif
#ifdef HEAD_DIM_128
ENTRIES(128)
#endif
#ifdef HEAD_DIM_192
ENTRIES(192)
#endif
#ifdef HEAD_DIM_256
ENTRIES(256)
#endif
#ifdef HEAD_DIM_512
ENTRIES(512)
#endif
