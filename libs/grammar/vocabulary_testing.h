// The vocabulary that tests of masks share.
#pragma once

#include <memory>

#include "grammar/grammar_vocabulary.h"

namespace chimera {

// The first 8,192 tokens of o200k_base, or those of the rank file that GRAMMAR_TOKENIZER names.
std::shared_ptr<const GrammarVocabulary> TestVocabulary();

}  // namespace chimera
