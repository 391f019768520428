# Cross builds for WebAssembly with Debian's emscripten: vectors of 128 bits, programs that node runs.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_CXX_COMPILER em++)
set(CMAKE_CXX_FLAGS_INIT -msimd128)
# The program in one file: this emscripten would ask node's fetch for a second one.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-sSINGLE_FILE=1 -sALLOW_MEMORY_GROWTH=1 -sEXIT_RUNTIME=1")
set(CMAKE_EXECUTABLE_SUFFIX_CXX .js)
