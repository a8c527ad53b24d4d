//! The media configuration of an answer: service-hosted, or an app-hosted blob from a file or a helper.
//!
//! The blob is an opaque document that only the platform's own media library makes (digest §7); where it comes from is the
//! operator's choice, so it is fetched anew for each call.

use std::time::Duration;

use tokio::process::Command;

use super::config::Media;
use super::request::MediaConfig;

/// Largest blob taken.
const LARGEST: u64 = 256 * 1024;

/// Time for the helper; the whole answer has less than five seconds.
const HELPER_TIME: Duration = Duration::from_millis(2_500);

/// The media of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// `serviceHostedMediaConfig` with what is to be fetched ahead, `(uri, resourceId)`.
    ServiceHosted(Vec<(String, String)>),
    /// `appHostedMediaConfig` with this blob.
    AppHosted(String),
}

impl Configuration {
    /// As a request takes it.
    pub fn as_request(&self) -> MediaConfig<'_> {
        match self {
            Configuration::ServiceHosted(prefetch) => MediaConfig::ServiceHosted(prefetch),
            Configuration::AppHosted(blob) => MediaConfig::AppHosted(blob),
        }
    }
}

/// Gets the media configuration for one call.
///
/// # Errors
/// Why there is no blob, in one fragment.
pub async fn configuration(media: &Media) -> Result<Configuration, String> {
    match media {
        Media::ServiceHosted { prefetch } => Ok(Configuration::ServiceHosted(prefetch.clone())),
        Media::BlobFile(path) => {
            let shown = path.display();
            let size =
                tokio::fs::metadata(path).await.map_err(|e| format!("cannot read media_blob_file {shown}: {e}"))?.len();
            if size > LARGEST {
                return Err(format!("media_blob_file {shown} is larger than {LARGEST} bytes"));
            }
            let text = tokio::fs::read_to_string(path).await;
            blob(text.map_err(|e| format!("cannot read media_blob_file {shown}: {e}"))?, "media_blob_file")
        }
        Media::BlobCommand(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return Err("media_blob_command is empty".to_owned());
            };
            let run =
                Command::new(program).args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true).output();
            let output = tokio::time::timeout(HELPER_TIME, run)
                .await
                .map_err(|_| format!("media_blob_command did not end within {} ms", HELPER_TIME.as_millis()))?
                .map_err(|error| format!("cannot run media_blob_command: {error}"))?;
            if !output.status.success() {
                return Err(format!("media_blob_command failed: {}", output.status));
            }
            let text =
                String::from_utf8(output.stdout).map_err(|_| "media_blob_command printed no UTF-8".to_owned())?;
            if text.len() as u64 > LARGEST {
                return Err(format!("media_blob_command printed more than {LARGEST} bytes"));
            }
            blob(text, "media_blob_command")
        }
    }
}

fn blob(text: String, from: &str) -> Result<Configuration, String> {
    let text = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if text.is_empty() {
        return Err(format!("{from} gave nothing"));
    }
    Ok(Configuration::AppHosted(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blob_comes_from_a_file_or_a_helper_without_its_final_newline() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("blob");
        std::fs::write(&path, "{\"mpUri\":1}\n").expect("written");
        let blob = Configuration::AppHosted("{\"mpUri\":1}".into());
        assert_eq!(configuration(&Media::BlobFile(path.clone())).await, Ok(blob.clone()));
        let command = ["cat", path.to_str().expect("path")].map(str::to_owned).to_vec();
        assert_eq!(configuration(&Media::BlobCommand(command)).await, Ok(blob));
    }

    #[tokio::test]
    async fn why_there_is_no_blob_is_said() {
        let says = |media: Media| async move { configuration(&media).await.expect_err("no blob") };
        assert!(says(Media::BlobFile("/nonexistent/blob".into())).await.contains("media_blob_file"));
        assert!(says(Media::BlobCommand(vec!["/nonexistent/helper".into()])).await.contains("cannot run"));
        assert!(says(Media::BlobCommand(vec!["false".into()])).await.contains("failed"));
        assert!(says(Media::BlobCommand(vec!["true".into()])).await.contains("gave nothing"));
    }
}
