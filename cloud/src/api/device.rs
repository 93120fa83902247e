use serde::Serialize;

use super::Answer;
use super::dto::{OK, Props};
use super::spaced::Spaced;
use crate::auth::{DeviceAccess, ProjectAccess};

#[derive(Serialize)]
pub(super) struct AllProps {
    count: usize,
    /// Always null: an answer is whole or an error.
    errors: Option<()>,
    devices: Vec<Props>,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct OneProps {
    #[serde(flatten)]
    props: Props,
    status: u16,
}

pub(super) async fn all_props(access: ProjectAccess) -> Answer<AllProps> {
    let devices: Vec<Props> = access.devices().await?.into_iter().map(Into::into).collect();
    Ok(Spaced(AllProps { count: devices.len(), errors: None, devices, status: OK }))
}

pub(super) async fn props(access: DeviceAccess) -> Answer<OneProps> {
    Ok(Spaced(OneProps { props: access.device().clone().into(), status: OK }))
}
