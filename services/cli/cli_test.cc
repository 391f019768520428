// The binary as a user meets it: JSON contracts, exit codes, sentences on standard error.
#include "services/cli/cli_testing.h"

namespace chimera {
namespace {

TEST_F(CliTest, TokenizeJsonAnswersLineByLine) {
  const Outcome outcome =
      Run({"tokenize", "--tokenizer", "o200k_base:4096", "--ranks", kRanks, "--json"},
          "\"a\\u00e9\\n\"\n\"\"\n\"<|endoftext|>\"\n\"no newline at the end\"");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  std::string line;
  std::vector<json> answers;
  while (std::getline(lines, line)) answers.push_back(json::parse(line, nullptr, false));
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_TRUE(answers[1].is_array() && answers[1].empty());
  for (const json& id : answers[2]) EXPECT_LT(id.get<int>(), 4096) << "never a special";
  EXPECT_EQ(outcome.err, "");
}

TEST_F(CliTest, TokenizeTellsWhatIsWrong) {
  const Outcome bad =
      Run({"tokenize", "--tokenizer", "o200k_base:4096", "--ranks", kRanks, "--json"},
          "\"fine\"\n{\"no\": 1}\n");
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("line 2 of standard input is not a JSON string"));
  ExpectFailure({"tokenize", "--tokenizer", "o200k_base:4", "--ranks", kRanks}, "o200k_base:4");
  ExpectFailure({"tokenize", "--tokenizer", "o200k_base", "--ranks", "/nowhere.tiktoken"},
                "/nowhere.tiktoken");
  ExpectFailure({"tokenize", "--model", root_ + "/none"}, "no such model folder");
}

TEST_F(CliTest, TokenizeTextPrintsIdsAndCount) {
  const Outcome outcome =
      Run({"tokenize", "--tokenizer", "o200k_base:256", "--ranks", kRanks}, "ab");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "64 65\n");
  EXPECT_EQ(outcome.err, "2 tokens, 2 bytes\n");
}

TEST_F(CliTest, WrongUsageIsTwo) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {"nonsense"},
           {"tokenize"},
           {"tokenize", "--model", "a", "--tokenizer", "b"},
           {"train"},
           {"train", "run"},
           {"train", "submit", "--data", "x", "--steps", "0"},
           {"eval", "--model", "x"},
           {"eval", "--model", "x", "--text", "y", "--loops", "0"},
           {"eval", "--model", "x", "--text", "y", "--bytes", "0"},
           {"eval", "--model", "x", "--text", "y", "--ablate", "gd", "--ablations"},
           {"model", "inspect"},
           {"model", "convert", "x", "--out", "y", "--packing", "base4"},
           {"model", "convert", "x", "--out", "y", "--head-bits", "5"},
           {"memory", "forget", "--user", "u"},
           {"memory", "case", "add", "--user", "u", "s", "p", "--outcome", "2"},
           {"memory", "guideline", "learn", "--user", "u", "c", "t", "--action", "dance"},
           {"memory", "entity", "set", "--user", "u", "Eve", "name", "Ada"},
           {"bench", "tokenizer", "--text", "x", "--tokenizer", "y", "--runs", "0"}}) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, 2) << ::testing::PrintToString(arguments);
    EXPECT_NE(outcome.err, "");
  }
}

TEST_F(CliTest, EveryCommandTeaches) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"tokenize"},
           {"eval"},
           {"model", "inspect"},
           {"model", "verify"},
           {"model", "convert"},
           {"train", "run"},
           {"train", "submit"},
           {"train", "watch"},
           {"train", "list"},
           {"train", "cancel"},
           {"train", "resume"},
           {"train", "publish"},
           {"memory", "put"},
           {"memory", "recall"},
           {"memory", "forget"},
           {"memory", "stats"},
           {"memory", "case", "add"},
           {"memory", "case", "find"},
           {"memory", "case", "outcome"},
           {"memory", "guideline", "learn"},
           {"memory", "guideline", "ask"},
           {"memory", "guideline", "outcome"},
           {"memory", "entity", "set"},
           {"memory", "entity", "list"},
           {"memory", "entity", "forget"},
           {"bench", "tokenizer"},
           {"grammar", "mask-bench"},
           {"grammar", "head-bench"},
           {"grammar", "completions"},
       }) {
    std::vector<std::string> help = arguments;
    help.push_back("--help");
    const Outcome outcome = Run(help);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Example")) << ::testing::PrintToString(arguments);
    EXPECT_THAT(outcome.out, HasSubstr("--json")) << ::testing::PrintToString(arguments);
  }
}

TEST_F(CliTest, EvalWithPartsRemoved) {
  const std::string model = MakeModel();
  const std::vector<std::string> eval = {
      "eval", "--model", model, "--text", root_ + "/data/a.txt", "--bytes", "2000", "--json"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), eval.begin(), eval.end());
    const Outcome outcome = Run(more);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  };
  const json whole = with({}), one = with({"--ablate", "gd,xm"}), all = with({"--ablations"});
  EXPECT_EQ(whole["bytes"], 2000);
  EXPECT_EQ(whole["loops"], 1);
  EXPECT_EQ(with({"--loops", "1"})["bpb"], whole["bpb"]);
  EXPECT_NEAR(all["bpb"].get<double>() / whole["bpb"].get<double>(), 1.0, 0.01);
  EXPECT_EQ(one["bpb"], all["bpb"]);
  ASSERT_EQ(one["ablations"].size(), 1u);
  EXPECT_EQ(one["ablations"][0]["part"], "gd,xm");
  EXPECT_EQ(one["bytes"], 2000);
  EXPECT_TRUE(all["expert_imbalance"].is_array());
  ASSERT_GT(all["ablations"].size(), 3u);
  for (const json& part : all["ablations"]) {
    EXPECT_EQ(part["change"].get<double>(), part["bpb"].get<double>() - all["bpb"].get<double>());
    EXPECT_NE(part["bpb"], one["ablations"][0]["bpb"]) << part["part"];
  }
  const std::vector<std::string> plain(eval.begin(), eval.end() - 1);
  const auto failing = [&](const std::string& key, const std::string& value) {
    std::vector<std::string> arguments = plain;
    arguments.insert(arguments.end(), {key, value});
    return arguments;
  };
  ExpectFailure(failing("--loops", "2"), "--loops 2: the model has no loop");
  ExpectFailure(failing("--ablate", "attention"), "--ablate: the model has no part \"attention\"");
}

TEST_F(CliTest, ModelEvalAndBenchContracts) {
  const std::string model = MakeModel();
  const Outcome eval = Run({"eval", "--model", model, "--text", root_ + "/data/a.txt", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  const json result = json::parse(eval.out, nullptr, false);
  EXPECT_EQ(result["bytes"].get<size_t>(), fs::file_size(root_ + "/data/a.txt"));
  EXPECT_GT(result["bpb"].get<double>(), 0.0);
  EXPECT_GT(result["tokens"].get<int64_t>(), 0);
  EXPECT_TRUE(result["seconds"].is_number());
  const Outcome one =
      Run({"eval", "--model", model, "--text", root_ + "/data/a.txt", "--json", "--threads", "1"});
  EXPECT_EQ(json::parse(one.out, nullptr, false)["bpb"], result["bpb"]);

  const Outcome verify = Run({"model", "verify", model, "--json"});
  EXPECT_EQ(json::parse(verify.out, nullptr, false)["model_id"], result["model_id"]);
  const Outcome convert =
      Run({"model", "convert", model, "--packing", "base3", "--out", root_ + "/packed", "--json"});
  ASSERT_EQ(convert.code, 0) << convert.err;
  const json sizes = json::parse(convert.out, nullptr, false);
  EXPECT_LT(sizes["weight_bytes"].get<int64_t>(), sizes["weight_bytes_before"].get<int64_t>());
  const Outcome packed = Run({"model", "verify", root_ + "/packed", "--json"});
  EXPECT_EQ(json::parse(packed.out, nullptr, false)["signature"],
            json::parse(verify.out, nullptr, false)["signature"]);
  const Outcome four =
      Run({"model", "convert", model, "--head-bits", "4", "--out", root_ + "/four", "--json"});
  ASSERT_EQ(four.code, 0) << four.err;
  const json heads = json::parse(four.out, nullptr, false);
  EXPECT_EQ(heads["head_packing"], "4 bits");
  EXPECT_LT(heads["head_bytes"].get<int64_t>() * 3, heads["head_bytes_before"].get<int64_t>() * 2);
  EXPECT_LT(heads["weight_bytes"].get<int64_t>(), heads["weight_bytes_before"].get<int64_t>());
  const Outcome rounded =
      Run({"eval", "--model", root_ + "/four", "--text", root_ + "/data/a.txt", "--json"});
  ASSERT_EQ(rounded.code, 0) << rounded.err;
  const double exact_bpb = result["bpb"], rounded_bpb = json::parse(rounded.out)["bpb"];
  EXPECT_NE(rounded_bpb, exact_bpb);
  EXPECT_NEAR(rounded_bpb, exact_bpb, 0.1 * exact_bpb);
  ExpectFailure({"model", "convert", root_ + "/four", "--head-bits", "8", "--out", root_ + "/x"},
                "its head has 4 bits a weight and cannot get back to 8");
  ExpectFailure({"model", "convert", model, "--out", root_ + "/x"},
                "--packing or --head-bits says what to change");
  const Outcome inspect = Run({"model", "inspect", "--model", model, "--json"});
  const json report = json::parse(inspect.out, nullptr, false);
  EXPECT_GT(report["parameters"]["total"].get<int64_t>(), 0);
  EXPECT_TRUE(report["pending_keys"].is_number_integer());
  const Outcome scale = Run({"model", "inspect", "--config", kSource + "/configs/chimera-5.3.json",
                             "--scale", "nano", "--json"});
  EXPECT_TRUE(json::parse(scale.out, nullptr, false)["parameters"].is_object());

  const Outcome bench = Run({"bench", "tokenizer", "--text", root_ + "/data/a.txt", "--model",
                             model, "--runs", "2", "--json"});
  ASSERT_EQ(bench.code, 0) << bench.err;
  EXPECT_GT(json::parse(bench.out, nullptr, false)["mb_per_s"].get<double>(), 0.0);

  std::ofstream(root_ + "/empty.txt").flush();
  ExpectFailure({"eval", "--model", model, "--text", root_ + "/empty.txt"}, "is empty");
  ExpectFailure({"eval", "--model", root_ + "/none", "--text", root_ + "/data/a.txt"}, "none");
  std::fstream weights(model + "/weights.b158", std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-5, std::ios::end);
  weights.put('\x7f');
  weights.close();
  ExpectFailure({"model", "verify", model}, "weights.b158");
}

TEST_F(CliTest, TrainRunStoppedBySignalGoesOnToTheSameBits) {
  Outcome whole = Run(TrainRun("/whole", 60));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const pid_t pid = Spawn(TrainRun("/cut", 60), "", "cut");
  for (int i = 0; i < 4000 && Slurp(root_ + "/cut.out").empty(); ++i) ::usleep(2000);
  EXPECT_EQ(Wait(pid, SIGTERM), 130);
  const Outcome cut = Read("cut", 130);
  EXPECT_THAT(cut.err, HasSubstr("run the same command again"));
  EXPECT_TRUE(fs::exists(root_ + "/cut/checkpoint.ckpt"));
  EXPECT_FALSE(fs::exists(root_ + "/cut/model/manifest.json"));
  const Outcome again = Run(TrainRun("/cut", 60));
  ASSERT_EQ(again.code, 0) << again.err;
  const json end = LastLine(again.out);
  EXPECT_EQ(end["finished"], true);
  EXPECT_EQ(end["model_id"], LastLine(whole.out)["model_id"]);
  EXPECT_TRUE(Slurp(root_ + "/cut/model/weights.b158") ==
              Slurp(root_ + "/whole/model/weights.b158"));
}

TEST_F(CliTest, TrainRunAdaptsAModel) {
  const std::string model = MakeModel();
  json recipe = json::parse(Slurp(kSmoke));
  recipe["train"].erase("grad_clip");
  recipe["train"].erase("lr");  // AdamW's
  recipe["train"]["optimizer"] = "mezo";
  fs::create_directory_symlink(kSource + "/configs", root_ + "/configs");
  std::ofstream(root_ + "/mezo.json") << recipe.dump();
  // The tokenizer is the model's: none is named.
  const std::vector<std::string> adapt = {
      "train",  "run",           "--recipe", root_ + "/mezo.json",
      "--data", root_ + "/data", "--work",   root_ + "/adapted",
      "--init", model,           "--steps",  "3",
      "--json"};
  const Outcome outcome = Run(adapt);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json end = LastLine(outcome.out);
  EXPECT_NE(end["projected_gradient"].get<double>(), 0.0);
  EXPECT_GT(end["gradient_norm"].get<double>(), 0.0);
  const json made = LastLine(Run(TrainRun("/made", 4)).out);
  EXPECT_NEAR(end["valid_bpb"].get<double>() / made["valid_bpb"].get<double>(), 1.0, 0.01);
  std::vector<std::string> wrong = adapt;
  wrong[9] = root_ + "/none";
  ExpectFailure(wrong, "train.init_model = \"" + root_ + "/none\"");
}

// One model says the same on every path this machine has.
TEST_F(CliTest, EveryInstructionSetGivesTheSameSignature) {
  const std::string model = kSource + "/models/nano";
  const std::string expected = Slurp(model + "/signature.txt");
  for (const char* isa : {"avx512", "avx2", "baseline"}) {
    ::setenv("CHIMERA_ISA", isa, 1);
    const Outcome verify = Run({"model", "verify", model, "--json"});
    ::unsetenv("CHIMERA_ISA");
    ASSERT_EQ(verify.code, 0) << verify.err;
    EXPECT_EQ(LastLine(verify.out)["signature"].get<std::string>() + "\n", expected) << isa;
  }
}

TEST_F(CliTest, BenchesPrintTheKeysScriptsRelyOn) {
  ::setenv("CHIMERA_ISA", "avx2", 1);
  const Outcome kernels = Run({"bench", "kernels", "--shape", "128x64", "--megabytes", "1",
                               "--runs", "1", "--threads", "2", "--json"});
  ::unsetenv("CHIMERA_ISA");
  ASSERT_EQ(kernels.code, 0) << kernels.err;
  json out = LastLine(kernels.out);
  EXPECT_GT(out["machine"]["read_gbps"].get<double>(), 0);
  EXPECT_GT(out["machine"]["dot_gmacs"].get<double>(), 0);
  EXPECT_TRUE(out["machine"]["huge_pages"].is_boolean());
  EXPECT_NE(out["machine"]["instruction_set"], "avx512");
  ASSERT_EQ(out["gemv"].size(), 2u);
  EXPECT_EQ(out["gemv"][1]["packing"], "base3");
  EXPECT_GT(out["gemv"][0]["fraction_of_read"].get<double>(), 0);
  EXPECT_GT(out["gemm"][0]["fraction_of_dot"].get<double>(), 0);
  EXPECT_EQ(Run({"bench", "kernels", "--shape", "128x60"}).code, 2);

  const Outcome knot = Run({"bench", "knot", "--model", kSource + "/models/nano", "--runs", "1",
                            "--steps", "2", "--prompt", "64", "--streams", "2", "--json"});
  ASSERT_EQ(knot.code, 0) << knot.err;
  out = LastLine(knot.out);
  for (const char* key :
       {"steps_per_s", "bytes_per_step", "fraction_of_read", "weights_per_byte"}) {
    EXPECT_GT(out["decode"][0][key].get<double>(), 0) << key;
  }
  EXPECT_EQ(out["head"]["packing"], "int8");
  for (const char* key : {"bytes", "seconds", "fraction_of_read"}) {
    EXPECT_GT(out["head"][key].get<double>(), 0) << key;
  }
  EXPECT_GT(out["prefill"][0]["tokens_per_s"].get<double>(), 0);
  EXPECT_GT(out["prefill"][0]["fraction_of_dot"].get<double>(), 0);
  EXPECT_EQ(out["streams"][0]["n"], 2);
  EXPECT_GT(out["streams"][0]["tokens_per_s"].get<double>(), 0);
  EXPECT_EQ(Run({"bench", "knot", "--model", "a", "--config", "b", "--random"}).code, 2);
}

TEST_F(CliTest, TrainRunTellsWhatIsWrong) {
  std::vector<std::string> arguments = TrainRun("/w", 20);
  arguments[5] = root_ + "/nowhere";
  ExpectFailure(arguments, "nowhere: no such file or folder");
  arguments = TrainRun("/w", 20);
  arguments[3] = root_ + "/nowhere.json";
  ExpectFailure(arguments, "nowhere.json");
  ExpectFailure({"train", "list", "--target", "127.0.0.1:1"}, "trainer at 127.0.0.1:1");
  ExpectFailure({"memory", "stats", "--target", "127.0.0.1:1"}, "memory at 127.0.0.1:1");
}

TEST_F(CliTest, JobsAndFactsThroughAServerThatIsKilled) {
  const std::string model = MakeModel();
  json at = Serve(model);
  ASSERT_TRUE(at.is_object() && at.contains("trainer") && at.contains("memory"));
  std::string trainer = at["trainer"], memory = at["memory"];

  const Outcome put =
      Run({"memory", "put", "--user", "ada", "the key is here", "--target", memory, "--json"});
  ASSERT_EQ(put.code, 0) << put.err;
  EXPECT_EQ(json::parse(put.out, nullptr, false)["created"], true);

  const Outcome add = Run({"memory", "case", "add", "--user", "ada", "the lock is stiff", "oil it",
                           "--outcome", "1", "--target", memory, "--json"});
  ASSERT_EQ(add.code, 0) << add.err;
  EXPECT_EQ(json::parse(add.out, nullptr, false)["created"], true);
  const Outcome set = Run({"memory", "entity", "set", "--user", "ada", "the key", "location",
                           "under the pot", "--target", memory, "--json"});
  EXPECT_EQ(json::parse(set.out, nullptr, false)["created"], true) << set.err;

  const Outcome submit =
      Run({"train", "submit", "--data", root_ + "/data", "--recipe", kSmoke, "--steps", "8",
           "--name", "small", "--watch", "--target", trainer, "--json"});
  ASSERT_EQ(submit.code, 0) << submit.err << submit.out;
  const json job = LastLine(submit.out);
  EXPECT_EQ(job["state"], "succeeded");
  EXPECT_EQ(job["published"], true) << job["error"];

  const Outcome queued = Run({"train", "submit", "--data", root_ + "/data", "--recipe", kSmoke,
                              "--steps", "40", "--no-publish", "--target", trainer, "--json"});
  const std::string id = LastLine(queued.out)["job_id"];
  EXPECT_EQ(Wait(server_, SIGKILL), -SIGKILL);
  at = Serve(model);
  trainer = at["trainer"];
  memory = at["memory"];
  const Outcome watch = Run({"train", "watch", id, "--target", trainer, "--json"});
  EXPECT_EQ(watch.code, 0) << watch.err;
  EXPECT_EQ(LastLine(watch.out)["state"], "succeeded");

  const json list = LastLine(Run({"train", "list", "--target", trainer, "--json"}).out);
  EXPECT_EQ(list["jobs"].size(), 2u);
  EXPECT_EQ(list["jobs"][0]["job_id"], id);
  const Outcome publish = Run({"train", "publish", id, "--target", trainer, "--json"});
  EXPECT_EQ(LastLine(publish.out)["model_id"], LastLine(watch.out)["model_id"]) << publish.err;
  ExpectFailure({"train", "cancel", id, "--target", trainer}, "succeeded");

  const json facts =
      LastLine(Run({"memory", "recall", "--user", "ada", "key", "--target", memory, "--json"}).out);
  EXPECT_EQ(facts["facts"][0]["text"], "the key is here") << "synced before it was acknowledged";
  const json cases = LastLine(
      Run({"memory", "case", "find", "--user", "ada", "a stiff lock", "--target", memory, "--json"})
          .out);
  EXPECT_EQ(cases["cases"][0]["plan"], "oil it");
  const json entities = LastLine(
      Run({"memory", "entity", "list", "--user", "ada", "--target", memory, "--json"}).out);
  EXPECT_EQ(entities["entities"][0]["parts"]["location"], "under the pot");
  const Outcome forget =
      Run({"memory", "forget", "--user", "ada", "--all", "--target", memory, "--json"});
  EXPECT_EQ(LastLine(forget.out)["facts_deleted"], 1);
  EXPECT_EQ(Wait(server_, SIGTERM), 0);
  server_ = 0;
}

}  // namespace
}  // namespace chimera
