//! Critical tasks: if one of them panics, or ends unexpectedly, the process is reported as broken and should
//! exit.

use std::future::Future;

use tokio::sync::watch;

/// Watcher of critical tasks; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CriticalTasks {
    broken: watch::Sender<Option<&'static str>>,
}

impl CriticalTasks {
    /// Watches a task under a name; reports a panic.
    pub fn watch<F: Future>(&self, name: &'static str, task: F) -> impl Future<Output = F::Output> + use<F> {
        let watched = ReportOnPanic {
            name,
            broken: self.broken.clone(),
        };
        async move {
            let _watched = watched;
            task.await
        }
    }

    /// Watches a task under a name; reports its end as well as a panic. An end in the course of a shutdown is
    /// not noticed, because the caller of the shutdown listens no longer.
    pub fn watch_end<F: Future>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let (watched, broken) = (self.watch(name, task), self.broken.clone());
        async move {
            let output = watched.await;
            broken.send_replace(Some(name));
            output
        }
    }

    /// Resolves with the name of a task that has panicked or ended.
    pub async fn broken(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        let name = broken.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        name.expect("the sender lives as long as self, and the value is there")
    }
}

struct ReportOnPanic {
    name: &'static str,
    broken: watch::Sender<Option<&'static str>>,
}

impl Drop for ReportOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.broken.send_replace(Some(self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_and_an_end_is_not() {
        let critical = CriticalTasks::default();
        assert_eq!(
            tokio::spawn(critical.watch("one", async { 7 })).await.ok(),
            Some(7)
        );
        let aborted = tokio::spawn(critical.watch("two", std::future::pending::<()>()));
        aborted.abort();
        assert!(aborted.await.is_err());
        assert!(critical.broken.borrow().is_none());
        assert!(
            tokio::spawn(critical.watch("three", async { panic!("on purpose") }))
                .await
                .is_err()
        );
        assert_eq!(critical.broken().await, "three");
        let critical = CriticalTasks::default();
        let aborted = tokio::spawn(critical.watch_end("four", std::future::pending::<()>()));
        aborted.abort();
        assert!(aborted.await.is_err());
        assert!(critical.broken.borrow().is_none());
        assert_eq!(
            tokio::spawn(critical.watch_end("five", async { 7 })).await.ok(),
            Some(7)
        );
        assert_eq!(critical.broken().await, "five");
        let critical = CriticalTasks::default();
        assert!(
            tokio::spawn(critical.watch_end("six", async { panic!("on purpose") }))
                .await
                .is_err()
        );
        assert_eq!(critical.broken().await, "six");
    }
}
