// The obvious twin of the sketch branch of an SK layer of the network, for tests. Its value is the
// serving step's, its slope that of the surrogate (docs/layers/span_knot.md): flips, previous
// sketches and all rounding are fixed where gradients are taken, and from there on
//   pre = hard pre + (float pre - fixed float pre),   s = hard s + (surrogate - fixed surrogate).
#pragma once

#include <vector>

#include "layers/span_knot_testing.h"
#include "model/tensors_naive.h"

namespace chimera {

template <typename T>
struct NaiveSketchConstants {  // of one token
  NaiveSpanToken<T> token;     // previous sketch, fields, flips
  std::vector<T> pre, soft;    // hard minus smooth
};

// xn [n][d_model] -> y [n][width]. knot: all but its weights. fields: of the whole sequence; null:
// none. fix: computes the constants, one per row.
template <typename T>
std::vector<T> NaiveSketchBranch(const NaiveTensors<T>& tensors, int l, NaiveSpanKnot<T> knot,
                                 const std::vector<T>& xn, const NaiveRows& rows,
                                 const SketchFields* fields, bool fix,
                                 std::vector<NaiveSketchConstants<T>>* constants) {
  knot.sketch = tensors.At(l, "sk.w_sketch");
  knot.back = tensors.At(l, "sk.w_back");
  knot.gate = tensors.At(l, "sk.gate");
  if (fix) constants->assign(rows.rows.size(), {});
  Signs previous;
  std::vector<T> y;
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    const T* x = xn.data() + i * size_t(knot.d_model);
    NaiveSketchConstants<T>& fixed = (*constants)[i];
    NaiveSpanToken<T> token = fixed.token;
    if (fix) {
      if (rows.reset[i] != 0) previous.clear();
      token.previous = previous;
      if (fields != nullptr) {
        const int words = knot.bits / 64;
        FillFields(FieldsOfRow(*fields, static_cast<int64_t>(rows.rows[i]), words), words, &token);
      }
      knot.Project(x, &token);
      knot.Expand(true, &token);
      knot.Relax(&token);
      previous = token.relaxed;
      fixed.token = token;
      fixed.pre = token.pre;
      knot.Soften(&token);
      fixed.soft.resize(token.soft.size());
      for (size_t j = 0; j < token.soft.size(); ++j) {
        fixed.soft[j] = token.relaxed[j] - token.soft[j];
      }
      knot.Expand(false, &token);
      for (size_t j = 0; j < token.pre.size(); ++j) fixed.pre[j] -= token.pre[j];
    }
    knot.Project(x, &token);
    knot.Expand(false, &token);
    for (size_t j = 0; j < token.pre.size(); ++j) token.pre[j] += fixed.pre[j];
    knot.Soften(&token);
    for (size_t j = 0; j < token.soft.size(); ++j) token.soft[j] += fixed.soft[j];
    knot.ReadOut(&token);
    y.insert(y.end(), token.y.begin(), token.y.end());
  }
  return y;
}

}  // namespace chimera
