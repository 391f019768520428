// Jobs to and from the wire (proto/chimera/trainer/v1/trainer.proto). Functions are pure.
#pragma once

#include "chimera/trainer/v1/trainer.pb.h"
#include "train/jobs_spec.h"

namespace chimera {

void WriteJobSpec(const JobSpec& spec, trainer::v1::JobSpec* out);
// Ranges are checked at submission.
JobSpec ReadJobSpec(const trainer::v1::JobSpec& in);

void WriteJob(const Job& job, trainer::v1::Job* out);
// What travels; the rest keeps its defaults.
Job ReadJob(const trainer::v1::Job& in);

}  // namespace chimera
