//! Steps of jobs that send a command to each device.

use std::time::{Duration, Instant};

use super::{Jobs, StepError, is_within};
use crate::clock;
use crate::command::{CommandRequest, SubmitError};
use iottly_core::jobs::Event;
use iottly_core::model::{Idempotency, Job, JobTask, Scope};
use iottly_protocol::DeviceId;
use iottly_store::{ClaimedJob, JobStep, StoreError};

/// Longest time of a step.
const STEP: Duration = Duration::from_millis(200);

impl Jobs {
    /// Sends the command to the next devices. Each is sent under a key of the job, so that a step which was not recorded
    /// is repeated without sending anything twice.
    pub(super) async fn send(&self, claim: &ClaimedJob) -> Result<(), StepError> {
        let JobTask::Command {
            cmd_type,
            values,
            ttl_ms,
        } = &claim.job.task
        else {
            return Ok(());
        };
        let request = CommandRequest {
            cmd_type: cmd_type.clone(),
            values: values.clone(),
            ttl_ms: *ttl_ms,
        };
        let (began, mut done, mut failures) = (Instant::now(), 0, Vec::new());
        for (at, device) in claim.devices.iter().enumerate() {
            if at > 0 && began.elapsed() >= STEP {
                break;
            }
            if let Err(reason) = self.send_one(&claim.job, *device, &request).await? {
                failures.push((at, reason));
            }
            done += 1;
        }
        let event = Event::Stepped {
            done,
            failed: failures.len() as u64,
        };
        let step = JobStep {
            event,
            failures,
            file: None,
        };
        self.store.record_step(claim, step, clock::now()).await?;
        Ok(())
    }

    /// Sends the command to a device. The inner error is the reason for which that was refused.
    async fn send_one(
        &self,
        job: &Job,
        device: DeviceId,
        request: &CommandRequest,
    ) -> Result<Result<(), String>, StoreError> {
        let scope = Scope {
            project: job.project,
            device,
        };
        if job.by.group.is_some() {
            let known = self.store.device(scope).await?;
            if !known.is_some_and(|device| is_within(&job.by, device.group)) {
                return Ok(Err(
                    "device is not in the deployment group that the token is bound to".to_owned(),
                ));
            }
        }
        // A key of a client has no spaces.
        let key = Idempotency {
            actor: job.by.actor,
            key: format!("job {} {device}", job.id),
            request: [0; 32],
        };
        match self
            .commands
            .submit_once(scope, request, Some(&key), clock::now())
            .await
        {
            Ok(_) => Ok(Ok(())),
            Err(SubmitError::Store(error)) => Err(error),
            Err(refused) => Ok(Err(refused.to_string())),
        }
    }
}
