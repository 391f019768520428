#include "model/braid_state.h"

#include <algorithm>

#include "base/check.h"

namespace chimera {
namespace {

int LoopsOf(const ModelConfig& config, int loops) {
  const int wanted = loops == 0 ? config.loop.loops_default : loops;
  CHIMERA_CHECK(wanted >= 1 && wanted <= config.loop.loops_max);
  return wanted;
}

}  // namespace

BraidState::BraidState(const ModelConfig& config, int loops)
    : layout_(std::make_shared<StateLayout>(config)), loops_(LoopsOf(config, loops)) {
  lines_.resize(layout_->Total(loops_) / kStateAlign);
}

void BraidState::Reset() {
  std::fill(lines_.begin(), lines_.end(), Line{});
  position_ = 0;
}

int64_t BraidState::Bytes(const ModelConfig& config, int loops) {
  return static_cast<int64_t>(StateLayout(config).Total(LoopsOf(config, loops)) * sizeof(float));
}

}  // namespace chimera
