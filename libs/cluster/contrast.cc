#include "cluster/contrast.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

static_assert(kContrastWindowMax <= kWantedNodesMax);

// Of a token behind a node of the last pass. The node asked for one row with a weight that puts the
// token on top, unless another one is a hundred nats likelier: then the rows behind it have it.
absl::StatusOr<double> NllOf(KnotStream* stream, const NodeDistribution& behind, int32_t token) {
  NodeDistribution rows = behind;
  for (int64_t held = 0;;) {
    if (rows.token_ids.empty() || rows.raw_logits.size() != rows.token_ids.size()) {
      return absl::InternalError(absl::StrCat("the knot sent ", rows.token_ids.size(),
                                              " token ids and ", rows.raw_logits.size(),
                                              " raw logits"));
    }
    const auto at = std::find(rows.token_ids.begin(), rows.token_ids.end(), token);
    if (at != rows.token_ids.end()) {
      const float logit = rows.raw_logits[static_cast<size_t>(at - rows.token_ids.begin())];
      const double nll = static_cast<double>(behind.raw_log_sum_exp) - static_cast<double>(logit);
      if (std::isfinite(nll)) return nll;
      return absl::InternalError(absl::StrCat("the knot sent a log-probability of ", -nll));
    }
    held += static_cast<int64_t>(rows.token_ids.size());
    const int64_t left = behind.allowed_rows - held;
    if (left <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", token, " to be scored is neither text nor end-of-text"));
    }
    CHIMERA_ASSIGN_OR_RETURN(
        rows, stream->MoreRows(behind.node, static_cast<int32_t>(held),
                               static_cast<int32_t>(std::min<int64_t>(kRowsMax, left))));
  }
}

// The last `scored` tokens of a text on a fresh stream; the very last one is not run.
absl::StatusOr<double> Score(KnotStream* stream, std::span<const int32_t> tokens, size_t scored) {
  const size_t n = tokens.size() - 1, first_wanted = n - scored;
  double nats = 0;
  for (size_t begin = 0; begin < n; begin += kVerifyNodesMax) {
    const size_t end = std::min(n, begin + kVerifyNodesMax);
    VerifyRequest request;
    request.transform.rows_max = 1;
    request.nodes.resize(end - begin);
    for (size_t i = begin; i < end; ++i) {
      VerifyNode& node = request.nodes[i - begin];
      node.parent = static_cast<int32_t>(i - begin) - 1;
      node.token_id = tokens[i];
      if (i < first_wanted) continue;
      node.want_distribution = true;
      node.token_weights = {{.token_id = tokens[i + 1], .weight = kWeightMax}};
    }
    CHIMERA_ASSIGN_OR_RETURN(const VerifyResult result, stream->Verify(request));
    size_t at = std::clamp(first_wanted, begin, end);
    if (result.distributions.size() != end - at) {
      return absl::InternalError(absl::StrCat("the knot sent ", result.distributions.size(),
                                              " distributions, wanted ", end - at));
    }
    for (const NodeDistribution& behind : result.distributions) {
      if (behind.node != static_cast<int32_t>(at - begin)) {
        return absl::InternalError(absl::StrCat("the knot sent a distribution of node ",
                                                behind.node, ", wanted ", at - begin));
      }
      CHIMERA_ASSIGN_OR_RETURN(const double nll, NllOf(stream, behind, tokens[++at]));
      nats += nll;
    }
  }
  return nats;
}

}  // namespace

absl::StatusOr<Contrast> MeasureContrast(Knot* knot, const std::string& model_id, int32_t eot,
                                         std::span<const int32_t> front_with,
                                         std::span<const int32_t> front_without,
                                         std::span<const int32_t> text, int window,
                                         int64_t deadline_ns) {
  if (text.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text of ", text.size(), " tokens, at least 2 are needed"));
  }
  if (window < 1 || window > kContrastWindowMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("window ", window, " is outside 1..", kContrastWindowMax));
  }
  const size_t scored = std::min(static_cast<size_t>(window), text.size() - 1);
  Contrast out;
  out.tokens = static_cast<int>(scored);
  std::string model = model_id;
  const std::pair<std::span<const int32_t>, double*> runs[] = {{front_with, &out.nll_with},
                                                               {front_without, &out.nll_without}};
  for (const auto& [front, nll] : runs) {
    std::vector<int32_t> tokens = {eot};
    tokens.insert(tokens.end(), front.begin(), front.end());
    tokens.insert(tokens.end(), text.begin(), text.end());
    CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<KnotStream> stream,
                             knot->Open(model, deadline_ns, 0));
    model = stream->model_id();
    CHIMERA_ASSIGN_OR_RETURN(*nll, Score(stream.get(), tokens, scored));
  }
  return out;
}

}  // namespace chimera
