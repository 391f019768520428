// Speeds of a model's step, prefill and windows, beside the machine's limits of the same run.
#pragma once

#include <cstdint>
#include <vector>

#include "base/exec_context.h"
#include "model/model.h"
#include "model/step_cost.h"
#include "ternary/machine_peak.h"
#include "ternary/products_bench.h"

namespace chimera {

struct KnotBenchOptions {
  int runs = 5;
  int decode_steps = 16;  // of one run
  int prefill_tokens = 512;
  std::vector<int> loops = {1, 2, 4};
  std::vector<int> tree_nodes = {8, 20};
  std::vector<int> batch_streams = {1, 4, 16};
};

struct DecodeFigure {
  int loops = 1;
  StepCost cost;
  Spread steps_per_s;
  Spread fraction_of_read;  // bytes of the step a second, of the bandwidth
  Spread weights_per_byte;  // weights a second by bytes of bandwidth a second
};

struct PrefillFigure {
  int tokens = 0;
  int loops = 1;
  Spread tokens_per_s;
  Spread fraction_of_dot;  // weights of all tokens a second, of the multiply-adds
};

struct TreeFigure {
  int nodes = 0;
  Spread windows_per_s;
  Spread steps;  // of plain decoding that take as long as one window
};

struct BatchFigure {
  int streams = 0;
  Spread tokens_per_s;
  Spread fraction_of_dot;
};

struct HeadFigure {
  const char* packing = "";  // HeadPacking
  int64_t bytes = 0;         // that one evaluation reads
  Spread seconds;            // of one evaluation of every row for one token
  Spread fraction_of_read;   // of the bandwidth
};

// One token of a fresh stream, and its distribution: with loading, what a user waits for.
void FirstToken(const Model& model, ExecContext* exec);

// Each run measures its limit before and after and takes the mean. Every figure has the head: a
// decode step once, a prefill on its last token, a window on every node. Loops beyond the model's
// are left out.
std::vector<DecodeFigure> BenchDecode(const Model& model, const KnotBenchOptions& options,
                                      const ReadProbe& probe, ExecContext* exec);
// The head alone: what of a decode step it is.
HeadFigure BenchHead(const Model& model, const KnotBenchOptions& options, const ReadProbe& probe,
                     ExecContext* exec);
PrefillFigure BenchPrefill(const Model& model, const KnotBenchOptions& options, ExecContext* exec);
std::vector<TreeFigure> BenchTree(const Model& model, const KnotBenchOptions& options,
                                  ExecContext* exec);
// Streams that decode together, a row each in one pass.
std::vector<BatchFigure> BenchBatch(const Model& model, const KnotBenchOptions& options,
                                    ExecContext* exec);

}  // namespace chimera
