//! Files of exports in the data folder. A file grows by whole members of gzip, each synced before the step is recorded;
//! what was written after the last recorded step is cut off when the job continues.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::FileName;
use crate::releases::is_short;
use iottly_core::model::Job;

/// Reason for which the file of an export cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has the file in its own data folder.
    #[error(
        "the file is in the data folder of another process of this cloud, which made it; ask that one, or start the export again"
    )]
    Elsewhere,
    /// The job has no file.
    #[error("the job has no file")]
    Missing,
    /// The operating system reports a fault.
    #[error("file {}: {error}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The fault.
        error: io::Error,
    },
    /// The disk has less free space than the cloud leaves.
    #[error("the cloud's disk has too little free space")]
    NoRoom,
}

/// Folder of the files of exports.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
    floor: Option<u64>,
}

impl Files {
    pub(super) fn new(folder: PathBuf, floor: Option<u64>) -> Self {
        Self { folder, floor }
    }

    fn path(&self, job: &Job) -> PathBuf {
        let folder = self.folder.join(job.project.to_string());
        folder.join(format!("{}.jsonl.gz", job.id))
    }

    pub(super) async fn open(&self, job: &Job) -> Result<tokio::fs::File, FileError> {
        let path = self.path(job);
        tokio::fs::File::open(&path)
            .await
            .map_err(|error| FileError::Io { path, error })
    }

    /// Appends lines, compressed, to the first `recorded` bytes of a file. Returns the new size; none if the file has less
    /// than that.
    pub(super) async fn append(
        &self,
        job: &Job,
        recorded: u64,
        lines: Vec<u8>,
    ) -> Result<Option<u64>, FileError> {
        let (path, files) = (self.path(job), self.clone());
        let written = tokio::task::spawn_blocking(move || {
            let appended = files.append_blocking(&path, recorded, &lines);
            appended.map_err(|error| match error {
                Some(error) => FileError::Io { path, error },
                None => FileError::NoRoom,
            })
        });
        written.await.expect("writing a file does not panic")
    }

    /// Does the same as [`append`](Self::append), on this thread. The error is none when the disk is full.
    fn append_blocking(
        &self,
        path: &Path,
        recorded: u64,
        lines: &[u8],
    ) -> Result<Option<u64>, Option<io::Error>> {
        let folder = path.parent().unwrap_or(&self.folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if is_short(folder, self.floor).map_err(|error| io::Error::other(error.to_string()))? {
            return Err(None);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if file.metadata()?.len() < recorded {
            return Ok(None);
        }
        file.set_len(recorded)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(recorded))?;
        if !lines.is_empty() || recorded == 0 {
            let mut packer = GzEncoder::new(&mut file, Compression::default());
            packer.write_all(lines)?;
            packer.finish()?;
        }
        file.sync_all()?;
        if recorded == 0 {
            File::open(folder)?.sync_all()?;
        }
        Ok(Some(file.metadata()?.len()))
    }

    /// Removes all files but these.
    pub(super) async fn keep_only(&self, kept: &[FileName]) -> Result<(), FileError> {
        let names = kept.iter().map(|(project, job)| {
            let folder = self.folder.join(project.to_string());
            folder.join(format!("{job}.jsonl.gz"))
        });
        let (kept, folder): (Vec<PathBuf>, _) = (names.collect(), self.folder.clone());
        let swept = tokio::task::spawn_blocking(move || {
            sweep(&folder, &kept).map_err(|error| FileError::Io { path: folder, error })
        });
        swept.await.expect("removing files does not panic")
    }
}

fn sweep(folder: &Path, kept: &[PathBuf]) -> io::Result<()> {
    let projects = match fs::read_dir(folder) {
        Ok(projects) => projects,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for project in projects {
        let project = project?.path();
        if !project.is_dir() {
            continue;
        }
        for file in fs::read_dir(&project)? {
            let file = file?.path();
            if !kept.contains(&file) {
                fs::remove_file(&file)?;
            }
        }
        // A folder with files stays.
        let _ = fs::remove_dir(&project);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    #[test]
    fn what_was_not_recorded_is_cut_off_and_a_lost_file_is_told() {
        let data = tempfile::tempdir().expect("a folder");
        let files = Files::new(data.path().join("exports"), Some(1));
        let path = data.path().join("exports/p/j.jsonl.gz");
        let append = |recorded, text: &str| {
            files
                .append_blocking(&path, recorded, text.as_bytes())
                .expect("writes")
        };
        let first = append(0, "one\n").expect("a size");
        append(first, "lost\n").expect("a size");
        let second = append(first, "two\n").expect("a size");
        let mut text = String::new();
        MultiGzDecoder::new(File::open(&path).expect("opens"))
            .read_to_string(&mut text)
            .expect("unpacks");
        assert_eq!(text, "one\ntwo\n");
        assert_eq!(
            append(second, "").expect("a size"),
            second,
            "nothing adds nothing"
        );
        assert_eq!(append(second + 1, "x"), None, "the file is shorter than recorded");
        let full = Files::new(data.path().join("exports"), Some(u64::MAX));
        assert!(matches!(full.append_blocking(&path, second, b"x"), Err(None)));
        sweep(&data.path().join("exports"), std::slice::from_ref(&path)).expect("sweeps");
        assert!(path.exists());
        sweep(&data.path().join("exports"), &[]).expect("sweeps");
        assert!(!path.exists() && !data.path().join("exports/p").exists());
    }
}
