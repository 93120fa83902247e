//! Latest report of each device about its health.

use async_trait::async_trait;

use super::db;
use super::{Backend, codec};
use crate::{HealthStore, Result};
use iottly_core::health::DeviceHealth;
use iottly_core::model::Scope;

#[async_trait]
impl HealthStore for Backend {
    async fn put_health(&self, reports: &[(Scope, DeviceHealth)]) -> Result<()> {
        // Several clouds write: rows are locked in one order.
        let mut sorted: Vec<_> = reports.iter().collect();
        sorted.sort_by_key(|(scope, _)| (scope.project, scope.device));
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        for (scope, health) in sorted {
            let report =
                serde_json::to_string(&health.report).expect("numbers and words serialize without failing");
            sqlx::query(
                "INSERT INTO device_health (project, device, at, report) SELECT $1, $2, $3, $4 \
                 WHERE EXISTS (SELECT 1 FROM devices WHERE project = $1 AND id = $2) \
                 ON CONFLICT (project, device) DO UPDATE SET at = excluded.at, report = excluded.report",
            )
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(health.at)
            .bind(codec::text(&report))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn device_health(&self, scope: Scope) -> Result<Option<DeviceHealth>> {
        let row = sqlx::query("SELECT at, report FROM device_health WHERE project = $1 AND device = $2")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(DeviceHealth {
            report: codec::json(codec::get(&row, "report")?, "device_health", "report")?,
            at: codec::get(&row, "at")?,
        }))
    }
}
