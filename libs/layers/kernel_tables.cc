// Which compiled body serves which instruction set.
#include "base/cpu.h"
#include "layers/efla.h"
#include "layers/gated_delta.h"
#include "layers/head.h"
#include "layers/loop.h"
#include "layers/low_rank.h"
#include "layers/mlstm.h"
#include "layers/moe.h"
#include "layers/rms_norm.h"
#include "layers/rope.h"
#include "layers/short_conv.h"
#include "layers/span_knot_kernels.h"
#include "layers/swiglu.h"
#include "layers/titans.h"
#include "layers/titans_train.h"

namespace chimera {

#define CHIMERA_DECLARE_TABLES(isa)                     \
  namespace isa {                                       \
  extern const RmsNormKernels kRmsNorm;                 \
  extern const SwigluKernels kSwiglu;                   \
  extern const ShortConvKernels kShortConv;             \
  extern const LowRankKernels kLowRankTable;            \
  extern const GatedDeltaKernels kGatedDelta;           \
  extern const GatedDeltaTrainKernels kGatedDeltaTrain; \
  extern const EflaKernels kEfla;                       \
  extern const MlstmKernels kMlstm;                     \
  extern const MoeKernels kMoe;                         \
  extern const LoopKernels kLoop;                       \
  extern const MlstmTrainKernels kMlstmTrain;           \
  extern const SpanKnotKernels kSpanKnot;               \
  }

CHIMERA_DECLARE_TABLES(baseline)
#if defined(__x86_64__)
CHIMERA_DECLARE_TABLES(avx2)
CHIMERA_DECLARE_TABLES(avx512)
#endif

#define CHIMERA_DECLARE_TITANS(isa)                         \
  namespace isa {                                           \
  extern const RopeKernels kRope;                           \
  extern const TitansKernels kTitans;                       \
  extern const TitansMemoryTrainKernels kTitansMemoryTrain; \
  extern const TitansAttendTrainKernels kTitansAttendTrain; \
  extern const TitansDecayTrainKernels kTitansDecayTrain;   \
  }

CHIMERA_DECLARE_TITANS(baseline)
#if defined(__x86_64__)
CHIMERA_DECLARE_TITANS(avx2)
CHIMERA_DECLARE_TITANS(avx512)
#endif

namespace {

template <typename Table>
const Table& Pick(Isa isa, const Table& plain, const Table& avx2, const Table& avx512) {
  switch (isa) {
    case Isa::kAvx2:
    case Isa::kAvxVnni:  // its own are int8 products
      return avx2;
    case Isa::kAvx512:
      return avx512;
    case Isa::kBaseline:
    case Isa::kNeonDot:
      return plain;
  }
  return plain;
}

// The AVX2 bodies of training use fma, which AVX2 does not promise.
Isa TrainIsa(Isa isa) {
#if defined(__x86_64__)
  const bool avx2 = isa == Isa::kAvx2 || isa == Isa::kAvxVnni;
  if (avx2 && !__builtin_cpu_supports("fma")) return Isa::kBaseline;
#endif
  return isa;
}

}  // namespace

#if defined(__x86_64__)
#define CHIMERA_PICK(isa, table) Pick(isa, baseline::table, avx2::table, avx512::table)
#else
#define CHIMERA_PICK(isa, table) Pick(isa, baseline::table, baseline::table, baseline::table)
#endif

const RmsNormKernels& RmsNormFor(Isa isa) { return CHIMERA_PICK(isa, kRmsNorm); }
const RmsNormKernels& RmsNorm() { return RmsNormFor(BestIsa()); }
const SwigluKernels& SwigluFor(Isa isa) { return CHIMERA_PICK(isa, kSwiglu); }
const SwigluKernels& Swiglu() { return SwigluFor(BestIsa()); }
const ShortConvKernels& ShortConvFor(Isa isa) { return CHIMERA_PICK(isa, kShortConv); }
const ShortConvKernels& ShortConv() { return ShortConvFor(BestIsa()); }
const LowRankKernels& LowRankFor(Isa isa) { return CHIMERA_PICK(isa, kLowRankTable); }
const LowRankKernels& LowRank() { return LowRankFor(BestIsa()); }
const GatedDeltaKernels& GatedDeltaFor(Isa isa) { return CHIMERA_PICK(isa, kGatedDelta); }
const GatedDeltaKernels& GatedDelta() { return GatedDeltaFor(BestIsa()); }
const EflaKernels& EflaFor(Isa isa) { return CHIMERA_PICK(isa, kEfla); }
const EflaKernels& Efla() { return EflaFor(BestIsa()); }
const MlstmKernels& MlstmFor(Isa isa) { return CHIMERA_PICK(isa, kMlstm); }
const MlstmKernels& Mlstm() { return MlstmFor(BestIsa()); }
const MoeKernels& MoeFor(Isa isa) { return CHIMERA_PICK(isa, kMoe); }
const MoeKernels& Moe() { return MoeFor(BestIsa()); }
const LoopKernels& LoopFor(Isa isa) { return CHIMERA_PICK(isa, kLoop); }
const LoopKernels& Loop() { return LoopFor(BestIsa()); }

const SpanKnotKernels& SpanKnotKernelsFor(Isa isa) { return CHIMERA_PICK(isa, kSpanKnot); }
const RopeKernels& RopeFor(Isa isa) { return CHIMERA_PICK(isa, kRope); }
const RopeKernels& Rope() { return RopeFor(BestIsa()); }
const TitansKernels& TitansFor(Isa isa) { return CHIMERA_PICK(isa, kTitans); }
const TitansKernels& Titans() { return TitansFor(BestIsa()); }

const GatedDeltaTrainKernels& GatedDeltaTrainFor(Isa isa) {
  return CHIMERA_PICK(TrainIsa(isa), kGatedDeltaTrain);
}
const GatedDeltaTrainKernels& GatedDeltaTrain() { return GatedDeltaTrainFor(BestIsa()); }
const MlstmTrainKernels& MlstmTrainFor(Isa isa) { return CHIMERA_PICK(TrainIsa(isa), kMlstmTrain); }
const MlstmTrainKernels& MlstmTrain() { return MlstmTrainFor(BestIsa()); }
const TitansMemoryTrainKernels& TitansMemoryTrainFor(Isa isa) {
  return CHIMERA_PICK(TrainIsa(isa), kTitansMemoryTrain);
}
const TitansMemoryTrainKernels& TitansMemoryTrain() { return TitansMemoryTrainFor(BestIsa()); }
const TitansAttendTrainKernels& TitansAttendTrainFor(Isa isa) {
  return CHIMERA_PICK(TrainIsa(isa), kTitansAttendTrain);
}
const TitansAttendTrainKernels& TitansAttendTrain() { return TitansAttendTrainFor(BestIsa()); }
const TitansDecayTrainKernels& TitansDecayTrainFor(Isa isa) {
  return CHIMERA_PICK(TrainIsa(isa), kTitansDecayTrain);
}
const TitansDecayTrainKernels& TitansDecayTrain() { return TitansDecayTrainFor(BestIsa()); }

int64_t CountChunks(const uint8_t* reset, int64_t n_tokens) {
  int64_t chunks = 0;
  int64_t length = kChunkTokens;
  for (int64_t t = 0; t < n_tokens; ++t) {
    if (length == kChunkTokens || (reset != nullptr && reset[t] != 0)) {
      ++chunks;
      length = 0;
    }
    ++length;
  }
  return chunks;
}

int64_t MaxChunks(int64_t n_tokens, int64_t n_resets) {
  return (n_tokens + kChunkTokens - 1) / kChunkTokens + n_resets;
}

}  // namespace chimera
