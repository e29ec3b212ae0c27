//! What we may do: SelfSubjectAccessReviews, asked side by side.

use futures::stream::{self, StreamExt};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::Problem;

/// One question: may I `verb` this resource there?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// `""` is the core group.
    pub group: String,
    /// With the subresource: `pods/exec`; `resource:name` asks about one object.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// None asks for the whole cluster.
    pub namespace: Option<String>,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        match &self.namespace {
            Some(namespace) => write!(f, "{} {}{group} in namespace {namespace}", self.verb, self.resource),
            None => write!(f, "{} {}{group} in the whole cluster", self.verb, self.resource),
        }
    }
}

/// Asks all questions, eight at a time; returns those that were answered with no.
pub async fn denied(client: &Client, questions: Vec<Question>) -> Result<Vec<Question>, Problem> {
    let answers: Vec<Result<Option<Question>, Problem>> = stream::iter(questions)
        .map(|question| async move {
            let (resource, name) = match question.resource.split_once(':') {
                Some((resource, name)) => (resource, Some(name.to_string())),
                None => (question.resource.as_str(), None),
            };
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, sub)) => (resource.to_string(), Some(sub.to_string())),
                None => (resource.to_string(), None),
            };
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(question.group.clone()),
                        resource: Some(resource),
                        subresource,
                        name,
                        verb: Some(question.verb.clone()),
                        namespace: question.namespace.clone(),
                        ..ResourceAttributes::default()
                    }),
                    non_resource_attributes: None,
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer =
                Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok((!allowed).then_some(question))
        })
        .buffered(8)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}
