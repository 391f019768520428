// Bits per byte by the training plane, DESIGN D7: one pass, state carried, the first token of a
// document predicted from end-of-text, every byte counted once.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "model/network.h"
#include "text/tokenizer.h"
#include "train/corpus.h"

namespace chimera {

// The beginning of a text, at most bytes_max >= 0 bytes, cut before a UTF-8 character that would
// not fit.
std::string_view WholeCharacters(std::string_view text, int64_t bytes_max);

// Over the first bytes_max bytes (whole characters) of each document in turn until used up. The
// network must be prepared; the tape is reset.
double ValidationBpb(const Config& config, Network* network, Tape* tape, const Tokenizer& tokenizer,
                     const std::vector<Document>& documents, int64_t bytes_max);

}  // namespace chimera
