// Small models for tests of this library and of those above it.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace chimera {

// The first 1,024 merges of the committed rank file: vocab_size 1,080.
std::shared_ptr<const Tokenizer> TestTokenizer();

enum class TestShape {
  kPlain,   // GD XM
  kLooped,  // GD, then XM with experts and GD looped 1 to 4 times (2 by default), then GD with
            // experts
  kFull,    // every part: GD, then TM with experts and XM looped as above, then SK with experts and
            // TM
};

// d_model 64, d_ff 128, vocab_size 1,080.
Config TestConfig(bool quantized, TestShape shape = TestShape::kPlain);
// The same, quantised, with keys of the section "quantization": R"("packing": "base3")".
Config TestConfigWith(const std::string& quantization_keys, TestShape shape = TestShape::kPlain);

// An empty folder of this process alone (tests run side by side), removed when the process ends.
std::string TestFolder(const std::string& name);

// Such a folder with a random model in it.
std::string TestModelFolder(const std::string& name, bool quantized, uint64_t seed = 1,
                            TestShape shape = TestShape::kPlain);
std::string TestModelFolder(const std::string& name, const Config& config, uint64_t seed = 1);

}  // namespace chimera
