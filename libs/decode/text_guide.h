// Weights that a text under way brings into the distribution of its next token (FEATURES S8, S9;
// math-inference-training B.4, D.7): debts pull on what discharges them, rhythm on the ends of
// sentences and paragraphs, and the token that would complete a 4-gram once more loses.
//
// Class weights change only at positions divisible by 16, from the tokens before (DESIGN D20). The
// weights of single tokens follow the path, as the repetition penalty does. All of it follows from
// the tokens alone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "decode/debt_ledger.h"
#include "decode/knot.h"
#include "decode/token_classes.h"
#include "text/tokenizer.h"

namespace chimera {

inline constexpr int kGuideInterval = 16;        // positions
inline constexpr int kRepetitionWindow = 256;    // tokens of the completion
inline constexpr float kRhythmWeight = 0.2f;     // of sentence_rhythm, nats
inline constexpr float kParagraphWeight = 0.1f;  // of paragraph_length
inline constexpr float kRepeatWeight = 0.3f;     // of repetition_avoidance, each time

struct GuideSettings {
  GrammarMode mode = GrammarMode::kPlainText;
  bool debts = true;
  DebtSettings debt;
  // Of prose only.
  bool sentence_rhythm = true, paragraph_length = true, repetition_avoidance = true;
};

// How long the parts of a text are, in tokens, and how far from it the present one is.
class Rhythm {
 public:
  Rhythm(double mean, double deviation) : mean_(mean), variance_(deviation * deviation) {}
  void Count() { ++length_; }
  void End();
  // min(1, ((length - mean) / deviation)^2), negative while the part is still short.
  double Strain() const;

 private:
  double mean_, variance_;
  int length_ = 0;
};

// Of one completion. Thread-compatible.
class TextGuide {
 public:
  // table: MakeClassTable of the tokenizer.
  TextGuide(const GuideSettings& settings, std::shared_ptr<const Tokenizer> tokenizer,
            std::shared_ptr<const ClassTable> table);

  // The position of the completion's first token. Call before the others.
  void Begin(int64_t position) { position_ = position; }
  // One more token of the completion.
  void Take(int32_t token);
  // Sets the weights of the node whose distribution is that of the next token.
  void Weigh(VerifyNode* node);
  // The text must not end here: a word that no sentence ends with came last.
  bool WithholdsEnd() const;

  const std::shared_ptr<const ClassTable>& table() const { return table_; }
  // Null without debts.
  const DebtLedger* ledger() const { return ledger_.has_value() ? &*ledger_ : nullptr; }

 private:
  void Refresh();
  void AddRhythm(const Rhythm& rhythm, float weight, std::initializer_list<TokenClass> ends);
  void AddDebts();
  void WeighRepeats(std::vector<TokenWeight>* out) const;

  const GuideSettings settings_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const ClassTable> table_;
  const bool prose_;
  std::optional<DebtLedger> ledger_;
  Rhythm sentences_{20, 10}, paragraphs_{90, 45};
  int64_t position_ = 0;              // of the next token
  std::vector<int32_t> recent_;       // the last tokens, at least kRepetitionWindow of them
  std::vector<float> class_weights_;  // empty while all are 0
};

}  // namespace chimera
