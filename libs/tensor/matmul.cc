#include "tensor/matmul.h"

#include <omp.h>

#include <array>
#include <cstdio>
#include <map>
#include <memory>

#include "base/check.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace chimera {
namespace {

using dnnl::memory;
using DataType = memory::data_type;

// Rows of C in one block. Fixed: the cut must not depend on how many threads there are.
constexpr int64_t kBlockRows = 256;

// Everything of oneDNN that one thread owns: engine, stream and the primitives it has built.
class ThreadPrimitives {
 public:
  ThreadPrimitives() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    omp_set_num_threads(1);  // this thread's calls only
  }

  void Run(DataType type, const MatmulShape& s, const void* a, const void* b, float* c) {
    const std::array<int64_t, 10> key = {static_cast<int64_t>(type),
                                         s.m,
                                         s.n,
                                         s.k,
                                         s.lda,
                                         s.ldb,
                                         s.ldc,
                                         s.trans_a,
                                         s.trans_b,
                                         s.accumulate};
    auto [it, added] = built_.try_emplace(key);
    if (added) it->second = Build(type, s);
    const Built& built = *it->second;
    memory ma(built.a, engine_, const_cast<void*>(a));
    memory mb(built.b, engine_, const_cast<void*>(b));
    memory mc(built.c, engine_, c);
    built.primitive.execute(stream_,
                            {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}});
    stream_.wait();
  }

 private:
  struct Built {
    memory::desc a, b, c;
    dnnl::matmul primitive;
  };

  std::unique_ptr<Built> Build(DataType type, const MatmulShape& s) {
    auto strides = [](bool trans, int64_t ld) {
      return trans ? memory::dims{1, ld} : memory::dims{ld, 1};
    };
    auto built = std::make_unique<Built>();
    built->a = memory::desc({s.m, s.k}, type, strides(s.trans_a, s.lda));
    built->b = memory::desc({s.k, s.n}, type, strides(s.trans_b, s.ldb));
    built->c = memory::desc({s.m, s.n}, DataType::f32, strides(false, s.ldc));
    dnnl::primitive_attr attributes;
    if (s.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::desc description(built->a, built->b, built->c);
    built->primitive = dnnl::matmul(dnnl::matmul::primitive_desc(description, attributes, engine_));
    return built;
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<std::array<int64_t, 10>, std::unique_ptr<Built>> built_;
};

// oneDNN throws only when it cannot build or run a product: a bug of ours, never of a user.
void RunOrDie(DataType type, const MatmulShape& shape, const void* a, const void* b, float* c) {
  if (shape.m == 0 || shape.n == 0 || shape.k == 0) return;
  thread_local ThreadPrimitives primitives;
  try {
    primitives.Run(type, shape, a, b, c);
  } catch (const dnnl::error& error) {
    std::fprintf(stderr, "oneDNN: %s\n", error.what());
    CHIMERA_CHECK(false && "oneDNN matmul failed");
  }
}

template <typename T>
void Blocks(ExecContext* exec, const MatmulShape& shape, const T* a, const T* b, float* c,
            void (*product)(const MatmulShape&, const T*, const T*, float*)) {
  const int64_t blocks = (shape.m + kBlockRows - 1) / kBlockRows;
  exec->ParallelFor(blocks, [&](int64_t i) {
    MatmulShape part = shape;
    const int64_t row = i * kBlockRows;
    part.m = row + kBlockRows > shape.m ? shape.m - row : kBlockRows;
    product(part, a + (shape.trans_a ? row : row * shape.lda), b, c + row * shape.ldc);
  });
}

}  // namespace

void Matmul(const MatmulShape& shape, const float* a, const float* b, float* c) {
  RunOrDie(DataType::f32, shape, a, b, c);
}

void MatmulBf16(const MatmulShape& shape, const uint16_t* a, const uint16_t* b, float* c) {
  RunOrDie(DataType::bf16, shape, a, b, c);
}

bool HasFastBf16() {
  static const bool fast = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_bf16;
  return fast;
}

const char* MatmulLibrary() {
  static const std::array<char, 32> name = [] {
    std::array<char, 32> text{};
    const dnnl_version_t* version = dnnl_version();
    std::snprintf(text.data(), text.size(), "oneDNN %d.%d.%d", version->major, version->minor,
                  version->patch);
    return text;
  }();
  return name.data();
}

void ParallelMatmul(ExecContext* exec, const MatmulShape& shape, const float* a, const float* b,
                    float* c) {
  Blocks<float>(exec, shape, a, b, c, &Matmul);
}

void ParallelMatmulBf16(ExecContext* exec, const MatmulShape& shape, const uint16_t* a,
                        const uint16_t* b, float* c) {
  Blocks<uint16_t>(exec, shape, a, b, c, &MatmulBf16);
}

}  // namespace chimera
