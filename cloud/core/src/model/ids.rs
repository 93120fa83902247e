//! Ids of things that only the cloud knows; the protocol defines the ids that devices see.

use iottly_protocol::uuid_id;

uuid_id!(
    /// Id of an API token; not the secret.
    TokenId, "token"
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
    /// Id of a webhook.
    WebhookId, "webhook"
);
