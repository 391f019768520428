// The span knot's branch on the tape. The forward runs the serving step row by row, so it has its
// bits; the backward is that of a smooth surrogate (docs/layers/span_knot.md): flips are frozen, an
// unflipped bit is hardtanh(pre_state), a flipped one hardtanh(field / kFlipClip), the role's sign
// hardtanh(pre_role); the previous sketch and the fields are constants; int8 rounding is passed
// straight through.
#pragma once

#include <cstdint>

#include "layers/linear_op.h"
#include "layers/span_knot.h"
#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

// Where the surrogate of a flipped bit saturates. Flips are drawn from the tail of the fields: at a
// limit of 1 almost none would pass a gradient.
inline constexpr float kFlipClip = 4.0f;

struct SpanKnotParams {
  FloatParam sketch;  // [3 * rank][d_model]
  FloatParam back;    // [width][rank]
  FloatParam gate;    // [1][width]
};

// Fields of a batch, in the order memory, grammar, debt: row t has sketch index[f][t] of the table
// (-1 = absent) with weight[f][t] in [0, 1]. A null index or table means absent everywhere.
struct SketchFields {
  const uint64_t* bits = nullptr;  // [n][words]
  const int32_t* index[3] = {};    // [rows] each
  const float* weight[3] = {};     // [rows] each
};

// The fields of one row, pointing into the table.
SpanFields FieldsOfRow(const SketchFields& fields, int64_t row, int words);

// xn [rows][d_model], the normalised input as serving sees it in float -> y [rows][width], to be
// added to the mixer's output. The sketch's state lies state_offset floats into a sequence's state.
// knot and the fields are borrowed until the backward has run.
Var* SpanKnotBranch(Tape* tape, const TrainBatch& batch, const SpanKnot& knot,
                    const SpanKnotParams& params, const SketchFields& fields, Var* xn,
                    int64_t state_offset);

}  // namespace chimera
