//! Ids of things that only the cloud knows; the protocol defines the ids that devices see.

use iottly_protocol::uuid_id;

uuid_id!(
    /// Id of an API token; not the secret.
    TokenId, "token"
);
uuid_id!(
    /// Id of an enrolment key; not the key.
    EnrolmentKeyId, "enrolment key"
);
uuid_id!(
    /// Id of a job.
    JobId, "job"
);
uuid_id!(
    /// Id of a rollout.
    RolloutId, "rollout"
);
uuid_id!(
    /// Id of a snippet.
    SnippetId, "snippet"
);
uuid_id!(
    /// Id of a rule that raises alerts.
    AlertRuleId, "alert rule"
);
uuid_id!(
    /// Id of an alert.
    AlertId, "alert"
);
uuid_id!(
    /// Id of a webhook.
    WebhookId, "webhook"
);
uuid_id!(
    /// Id of a link to the deliveries of a webhook; not its secret.
    PortalId, "portal"
);
uuid_id!(
    /// Id of a saved plot.
    SavedPlotId, "saved plot"
);
uuid_id!(
    /// Id of a person who can log in.
    UserId, "user"
);
uuid_id!(
    /// Id of a machine login; not the secret.
    MachineLoginId, "machine login"
);
uuid_id!(
    /// Id of an organisation, which owns projects.
    OrganizationId, "organization"
);

impl OrganizationId {
    /// Organisation that owns every project which was created without one.
    pub const DEFAULT: Self = Self::from_bytes([0; 16]);
}
