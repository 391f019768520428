#include "decode/text_guide.h"

#include <algorithm>
#include <cmath>

namespace chimera {
namespace {

// How fast mean and deviation of a rhythm follow the text.
constexpr double kRhythmRate = 0.25;
constexpr double kVarianceMin = 9.0;

constexpr size_t kGram = 3;  // tokens in front of the one that completes a 4-gram

size_t At(TokenClass c) { return static_cast<size_t>(c); }

}  // namespace

void Rhythm::End() {
  const double off = length_ - mean_;
  mean_ += kRhythmRate * off;
  variance_ = std::max(kVarianceMin, variance_ + kRhythmRate * (off * off - variance_));
  length_ = 0;
}

double Rhythm::Strain() const {
  const double off = length_ - mean_;
  return std::copysign(std::min(1.0, off * off / variance_), off);
}

TextGuide::TextGuide(const GuideSettings& settings, std::shared_ptr<const Tokenizer> tokenizer,
                     std::shared_ptr<const ClassTable> table)
    : settings_(settings),
      tokenizer_(std::move(tokenizer)),
      table_(std::move(table)),
      prose_(IsProse(settings.mode)) {
  if (settings.debts) ledger_.emplace(settings.mode, settings.debt);
  recent_.reserve(2 * kRepetitionWindow);
}

void TextGuide::Take(int32_t token) {
  Refresh();  // several tokens may be taken between two draws
  if (recent_.size() == recent_.capacity()) {
    recent_.erase(recent_.begin(), recent_.end() - kRepetitionWindow);
  }
  recent_.push_back(token);
  if (ledger_.has_value()) ledger_->Take(tokenizer_->TokenBytes(token));
  ++position_;
  if (!prose_) return;
  const auto c = static_cast<TokenClass>((*table_)[static_cast<size_t>(token)]);
  sentences_.Count();
  paragraphs_.Count();
  const bool paragraph = c == TokenClass::kParagraph || c == TokenClass::kSentenceParagraph;
  if (c == TokenClass::kSentenceEnd || paragraph) sentences_.End();
  if (paragraph) paragraphs_.End();
}

void TextGuide::Refresh() {
  if (position_ % kGuideInterval != 0) return;
  class_weights_.assign(kTokenClasses, 0.0f);
  if (prose_ && settings_.sentence_rhythm) {
    AddRhythm(sentences_, kRhythmWeight,
              {TokenClass::kSentenceEnd, TokenClass::kSentenceParagraph});
  }
  if (prose_ && settings_.paragraph_length) {
    AddRhythm(paragraphs_, kParagraphWeight,
              {TokenClass::kParagraph, TokenClass::kSentenceParagraph});
  }
  if (ledger_.has_value()) AddDebts();
  const bool none = std::all_of(class_weights_.begin(), class_weights_.end(),
                                [](float weight) { return weight == 0.0f; });
  if (none) class_weights_.clear();
}

// Too short a part: against its ends. Too long: against everything else, which is the same as for
// its ends.
void TextGuide::AddRhythm(const Rhythm& rhythm, float weight,
                          std::initializer_list<TokenClass> ends) {
  const auto by = static_cast<float>(static_cast<double>(weight) * rhythm.Strain());
  for (const TokenClass c : ends) class_weights_[At(c)] += by;
}

// Of the debts that one class discharges, the one that pulls most counts.
void TextGuide::AddDebts() {
  std::array<double, kTokenClasses> pull = {};
  const double pressure = ledger_->Pressure();
  for (const DebtEntry& entry : ledger_->entries()) {
    double& most = pull[At(DischargingClass(entry))];
    most = std::max(most, ledger_->Pull(entry, pressure));
  }
  pull[At(TokenClass::kSentenceParagraph)] =
      std::max(pull[At(TokenClass::kSentenceEnd)], pull[At(TokenClass::kParagraph)]);
  pull[At(TokenClass::kOther)] = 0;
  for (size_t c = 0; c < pull.size(); ++c) class_weights_[c] += static_cast<float>(pull[c]);
}

void TextGuide::Weigh(VerifyNode* node) {
  Refresh();
  node->class_weights = class_weights_;
  if (prose_ && settings_.repetition_avoidance) WeighRepeats(&node->token_weights);
}

void TextGuide::WeighRepeats(std::vector<TokenWeight>* out) const {
  const size_t n = recent_.size(), begin = n > kRepetitionWindow ? n - kRepetitionWindow : 0;
  if (n - begin <= kGram) return;
  const auto last = recent_.end() - kGram;
  for (size_t i = n - 1; i >= begin + kGram; --i) {  // recent_[i] completed a 4-gram
    if (!std::equal(last, recent_.end(), recent_.begin() + static_cast<std::ptrdiff_t>(i - kGram)))
      continue;
    const int32_t token = recent_[i];
    auto at = std::find_if(out->begin(), out->end(),
                           [token](const TokenWeight& w) { return w.token_id == token; });
    if (at == out->end()) {
      if (out->size() == size_t{kTokenWeightsMax}) continue;
      at = out->insert(out->end(), {token, 0.0f});
    }
    at->weight -= kRepeatWeight;
  }
}

bool TextGuide::WithholdsEnd() const {
  const auto sentences = static_cast<size_t>(DebtType::kCompleteSentence);
  return ledger_.has_value() && settings_.debt.obligations[sentences] && ledger_->Dangling();
}

}  // namespace chimera
