#include "services/trainer/messages.h"

namespace chimera {

namespace pb = trainer::v1;

namespace {

pb::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return pb::JOB_STATE_QUEUED;
    case JobState::kRunning:
      return pb::JOB_STATE_RUNNING;
    case JobState::kSucceeded:
      return pb::JOB_STATE_SUCCEEDED;
    case JobState::kFailed:
      return pb::JOB_STATE_FAILED;
    case JobState::kCancelled:
      return pb::JOB_STATE_CANCELLED;
  }
  return pb::JOB_STATE_UNSPECIFIED;
}

JobState FromProto(pb::JobState state) {
  switch (state) {
    case pb::JOB_STATE_RUNNING:
      return JobState::kRunning;
    case pb::JOB_STATE_SUCCEEDED:
      return JobState::kSucceeded;
    case pb::JOB_STATE_FAILED:
      return JobState::kFailed;
    case pb::JOB_STATE_CANCELLED:
      return JobState::kCancelled;
    default:
      return JobState::kQueued;
  }
}

void WriteProgress(const TrainProgress& p, pb::JobProgress* out) {
  out->set_step(p.step);
  out->set_steps_total(p.steps_total);
  out->set_tokens(p.tokens);
  out->set_train_loss_nats(p.train_loss_nats);
  out->set_valid_bpb(p.valid_bpb);
  out->set_tokens_per_second(p.tokens_per_s);
  out->set_eta_seconds(p.eta_s);
  out->set_learning_rate(p.learning_rate);
  out->set_checkpoint_step(p.checkpoint_step);
  out->set_gradient_norm(p.gradient_norm);
  out->set_projected_gradient(p.projected_gradient);
  out->set_mean_loops(p.mean_loops);
  out->set_expert_imbalance(p.expert_imbalance);
}

TrainProgress ReadProgress(const pb::JobProgress& in) {
  TrainProgress p;
  p.step = in.step();
  p.steps_total = in.steps_total();
  p.tokens = in.tokens();
  p.train_loss_nats = in.train_loss_nats();
  p.valid_bpb = in.valid_bpb();
  p.tokens_per_s = in.tokens_per_second();
  p.eta_s = in.eta_seconds();
  p.learning_rate = in.learning_rate();
  p.checkpoint_step = in.checkpoint_step();
  p.gradient_norm = in.gradient_norm();
  p.projected_gradient = in.projected_gradient();
  p.mean_loops = in.mean_loops();
  p.expert_imbalance = in.expert_imbalance();
  return p;
}

}  // namespace

void WriteJobSpec(const JobSpec& spec, pb::JobSpec* out) {
  out->set_data_path(spec.data_path);
  out->set_recipe_json(spec.recipe_json);
  if (spec.steps) out->set_steps(*spec.steps);
  if (spec.minutes_max) out->set_minutes_max(*spec.minutes_max);
  if (spec.seed) out->set_seed(*spec.seed);
  out->set_publish(spec.publish);
  out->set_name(spec.name);
}

JobSpec ReadJobSpec(const pb::JobSpec& in) {
  JobSpec spec;
  spec.data_path = in.data_path();
  spec.recipe_json = in.recipe_json();
  if (in.has_steps()) spec.steps = in.steps();
  if (in.has_minutes_max()) spec.minutes_max = in.minutes_max();
  if (in.has_seed()) spec.seed = in.seed();
  spec.publish = in.publish();
  spec.name = in.name();
  return spec;
}

void WriteJob(const Job& job, pb::Job* out) {
  out->set_job_id(job.job_id);
  WriteJobSpec(job.spec, out->mutable_spec());
  out->set_state(ToProto(job.state));
  WriteProgress(job.progress, out->mutable_progress());
  out->set_error(job.error);
  out->set_model_id(job.model_id);
  out->set_published(job.published);
  out->set_created_ms(job.created_ms);
  out->set_started_ms(job.started_ms);
  out->set_finished_ms(job.finished_ms);
}

Job ReadJob(const pb::Job& in) {
  Job job;
  job.job_id = in.job_id();
  job.spec = ReadJobSpec(in.spec());
  job.state = FromProto(in.state());
  job.progress = ReadProgress(in.progress());
  job.error = in.error();
  job.model_id = in.model_id();
  job.published = in.published();
  job.created_ms = in.created_ms();
  job.started_ms = in.started_ms();
  job.finished_ms = in.finished_ms();
  return job;
}

}  // namespace chimera
