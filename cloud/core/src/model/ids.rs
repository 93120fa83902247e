use iottly_protocol::uuid_id;

uuid_id!(
    /// An API token; not the secret.
    TokenId, "token"
);
uuid_id!(
    /// A rollout.
    RolloutId, "rollout"
);
uuid_id!(
    /// A piece of a branch's code.
    SnippetId, "snippet"
);
uuid_id!(
    /// A webhook.
    WebhookId, "webhook"
);
