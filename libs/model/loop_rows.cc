#include "model/loop_rows.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "layers/span_knot_op.h"

namespace chimera {
namespace {

template <typename T>
const T* Keep(Tape* tape, const std::vector<T>& values) {
  T* copy = tape->arena().New<T>(static_cast<int64_t>(values.size()));
  std::memcpy(copy, values.data(), values.size() * sizeof(T));
  return copy;
}

int LoopsOf(const TrainBatch& batch, int64_t row, int loops_default) {
  return batch.loops != nullptr ? batch.loops[row] : loops_default;
}

// The fields of SK layers, of some rows of the batch.
const SketchFields* FieldsOf(Tape* tape, const SketchFields& whole,
                             const std::vector<int32_t>& rows) {
  const auto n = static_cast<int64_t>(rows.size());
  SketchFields* some = tape->arena().New<SketchFields>(1);
  *some = whole;
  for (int f = 0; f < 3; ++f) {
    if (whole.index[f] == nullptr) continue;
    int32_t* index = tape->arena().New<int32_t>(n);
    float* weight = tape->arena().New<float>(n);
    for (int64_t i = 0; i < n; ++i) {
      const auto row = static_cast<size_t>(rows[static_cast<size_t>(i)]);
      index[i] = whole.index[f][row];
      weight[i] = whole.weight[f] != nullptr ? whole.weight[f][row] : 0.0f;
    }
    some->index[f] = index;
    some->weight[f] = weight;
  }
  return some;
}

// Rows of the given sequences that run `iteration` (from 1). previous_rows and rows_here: where a
// row of the whole batch stands in the iteration before and in this one.
LoopRows RowsOf(Tape* tape, const TrainBatch& batch, const std::vector<int>& seqs, int iteration,
                int loops_default, const std::vector<int32_t>& previous_rows,
                std::vector<int32_t>* rows_here) {
  LoopRows out;
  std::vector<int64_t> row_begin = {0};
  std::vector<int32_t> lanes, rows, previous;
  std::vector<uint8_t> resets, keep;
  for (int s : seqs) {
    bool pending = false;  // a document started at a token that this iteration skipped
    for (int64_t row = batch.Row(s); row < batch.Row(s + 1); ++row) {
      pending = pending || batch.reset[row] != 0;
      const int loops = LoopsOf(batch, row, loops_default);
      if (loops < iteration) continue;
      const auto here = static_cast<int32_t>(rows.size());
      const auto global = static_cast<int32_t>(row);
      resets.push_back(pending ? 1 : 0);
      pending = false;
      rows.push_back(global);
      (*rows_here)[static_cast<size_t>(row)] = here;
      if (iteration > 1) {
        previous.push_back(previous_rows[static_cast<size_t>(row)]);
        keep.push_back(iteration - 1 > loops / 2 ? 1 : 0);
      }
      out.taped = out.taped || iteration > loops / 2;
      if (loops == iteration) {
        out.last.push_back(here);
        out.last_to.push_back(global);
      }
    }
    const auto end = static_cast<int64_t>(rows.size());
    if (end == row_begin.back()) continue;
    row_begin.push_back(end);
    lanes.push_back(batch.lane != nullptr ? batch.lane[s] : s);
  }
  out.batch = batch;
  out.batch.n_seqs = static_cast<int>(lanes.size());
  out.batch.row_begin = Keep(tape, row_begin);
  out.batch.lane = Keep(tape, lanes);
  out.batch.reset = Keep(tape, resets);
  out.batch.tokens = out.batch.targets = nullptr;
  out.batch.loops = nullptr;
  out.rows = Keep(tape, rows);
  if (batch.fields != nullptr) out.batch.fields = FieldsOf(tape, *batch.fields, rows);
  if (iteration > 1) {
    out.previous = Keep(tape, previous);
    out.keep_grad = Keep(tape, keep);
  }
  return out;
}

}  // namespace

std::vector<std::vector<LoopRows>> PlanLoops(Tape* tape, const TrainBatch& batch,
                                             int loops_default) {
  std::map<int, std::vector<int>> groups;  // by the most iterations of a sequence
  for (int s = 0; s < batch.n_seqs; ++s) {
    int most = 1;
    for (int64_t row = batch.Row(s); row < batch.Row(s + 1); ++row) {
      most = std::max(most, LoopsOf(batch, row, loops_default));
    }
    groups[most].push_back(s);
  }
  std::vector<std::vector<LoopRows>> plan;
  for (const auto& [most, seqs] : groups) {
    std::vector<LoopRows>& group = plan.emplace_back();
    std::vector<int32_t> previous(static_cast<size_t>(batch.rows())), here = previous;
    for (int iteration = 1; iteration <= most; ++iteration) {
      group.push_back(RowsOf(tape, batch, seqs, iteration, loops_default, previous, &here));
      previous.swap(here);
    }
  }
  return plan;
}

std::vector<HeldState> PlanHeldStates(const TrainBatch& batch, int loops_default, int loops_max) {
  std::vector<HeldState> states;
  for (int s = 0; s < batch.n_seqs; ++s) {
    for (int iteration = 1; iteration <= loops_max; ++iteration) {
      HeldState held{batch.lane != nullptr ? batch.lane[s] : s, iteration - 1};
      for (int64_t row = batch.Row(s); row < batch.Row(s + 1); ++row) {
        if (batch.reset[row] != 0) held.dropped = true;
        if (LoopsOf(batch, row, loops_default) >= iteration) {
          held.executed = true;
          held.dropped = false;
        }
      }
      states.push_back(held);
    }
  }
  return states;
}

}  // namespace chimera
