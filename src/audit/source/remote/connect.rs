//! Connecting to a bucket: who and where stands in the environment, as each cloud's own tools read it. What is not there is
//! asked for, not looked up in a machine's metadata service.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3};
use object_store::azure::{AzureConfigKey as Azure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Google};
use object_store::{ObjectStore, RetryConfig};

use super::http::Connector;
use super::{Address, Bucket};
use crate::cluster::Problem;

pub(super) fn bucket(address: Address<'_>) -> Result<Bucket, Problem> {
    match address.scheme {
        "s3" => s3(address.bucket),
        "gs" => google(address.bucket),
        _ => azure(address.bucket),
    }
}

/// An endpoint that does not answer is told of within a minute.
fn patience() -> RetryConfig {
    RetryConfig { max_retries: 5, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() }
}

fn made<S: ObjectStore>(built: object_store::Result<S>, place: String) -> Result<Bucket, Problem> {
    match built {
        Ok(store) => Ok(Bucket { store: Arc::new(store), place }),
        Err(e) => Err(super::refused(&format!("can't use the {place}"), &e)),
    }
}

/// Whether a setting is there and says something.
fn any(values: &[Option<String>]) -> bool {
    values.iter().flatten().any(|value| !value.is_empty() && value != "false")
}

fn plain(endpoint: &str) -> &'static str {
    if endpoint.starts_with("http://") { " (not encrypted)" } else { "" }
}

/// <https://docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html>
fn s3(name: &str) -> Result<Bucket, Problem> {
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(name).with_http_connector(Connector).with_retry(patience());
    let get = |builder: &AmazonS3Builder, key: S3| builder.get_config_value(&key).filter(|v| !v.is_empty());
    let endpoint = get(&builder, S3::S3Endpoint).or_else(|| get(&builder, S3::Endpoint));
    let region = get(&builder, S3::Region).or_else(|| get(&builder, S3::DefaultRegion));
    let known = [
        S3::AccessKeyId,
        S3::WebIdentityTokenFile,
        S3::ContainerCredentialsRelativeUri,
        S3::ContainerCredentialsFullUri,
        S3::SkipSignature,
    ];
    if !any(&known.map(|key| get(&builder, key))) {
        return Err(Problem::usage(format!("no credentials for s3://{name} are in the environment")).hint(
            "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; `eval \"$(aws configure export-credentials \
             --format env)\"` takes them from a profile. Files and metadata services are not asked",
        ));
    }
    let place = match (&region, &endpoint) {
        (None, None) => {
            return Err(Problem::usage(format!("in which region s3://{name} lies is not said"))
                .hint("set AWS_REGION, or AWS_ENDPOINT_URL for a store of your own"));
        }
        (Some(region), None) => format!("S3 bucket {name} at https://s3.{region}.amazonaws.com, region {region}"),
        (region, Some(endpoint)) => {
            let region = region.as_ref().map_or(String::new(), |region| format!(", region {region}"));
            format!("S3 bucket {name} at {endpoint}{}{region}", plain(endpoint))
        }
    };
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    made(builder.build(), place)
}

/// <https://cloud.google.com/docs/authentication/application-default-credentials>
fn google(name: &str) -> Result<Bucket, Problem> {
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(name)
        .with_http_connector(Connector)
        .with_retry(patience());
    let known = [
        Google::ServiceAccount,
        Google::ServiceAccountKey,
        Google::ApplicationCredentials,
        Google::BearerToken,
        Google::SkipSignature,
    ];
    if !any(&known.map(|key| builder.get_config_value(&key))) {
        return Err(Problem::usage(format!("no credentials for gs://{name} are in the environment")).hint(
            "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or GOOGLE_BEARER_TOKEN to what `gcloud auth \
             print-access-token` prints",
        ));
    }
    let endpoint = builder.get_config_value(&Google::BaseUrl).filter(|v| !v.is_empty());
    let endpoint = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".into());
    let place =
        format!("Google Cloud Storage bucket {name} at {endpoint}{} (its region is the bucket's)", plain(&endpoint));
    made(builder.build(), place)
}

/// <https://learn.microsoft.com/azure/storage/blobs/authorize-data-operations-cli>
fn azure(name: &str) -> Result<Bucket, Problem> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(name)
        .with_http_connector(Connector)
        .with_retry(patience());
    let get = |builder: &MicrosoftAzureBuilder, key: Azure| builder.get_config_value(&key).filter(|v| !v.is_empty());
    let Some(account) = get(&builder, Azure::AccountName) else {
        return Err(Problem::usage(format!("in which storage account az://{name} lies is not said"))
            .hint("set AZURE_STORAGE_ACCOUNT_NAME; az:// takes CONTAINER/PREFIX"));
    };
    let known = [
        Azure::AccessKey,
        Azure::SasKey,
        Azure::Token,
        Azure::ClientSecret,
        Azure::FederatedTokenFile,
        Azure::SkipSignature,
        Azure::UseEmulator,
    ];
    if !any(&known.map(|key| get(&builder, key))) {
        return Err(Problem::usage(format!("no credentials for az://{name} are in the environment")).hint(
            "set AZURE_STORAGE_SAS_KEY, AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_TOKEN, or AZURE_STORAGE_CLIENT_ID, \
             AZURE_STORAGE_CLIENT_SECRET and AZURE_STORAGE_TENANT_ID",
        ));
    }
    let endpoint = get(&builder, Azure::Endpoint);
    if endpoint.as_ref().is_some_and(|e| e.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let place =
        format!("Azure container {name} at {endpoint}{} (its region is the storage account's)", plain(&endpoint));
    made(builder.build(), place)
}
