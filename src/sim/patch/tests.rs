use super::*;
use serde_json::json;

fn who(name: &str) -> Manager<'_> {
    Manager { name, api_version: "apps/v1", subresource: None, time: "2026-01-01T00:00:00Z" }
}

#[test]
fn strategic_merges_by_key_and_obeys_directives() {
    let live = json!({"spec": {"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "y"}], "tolerations": [{"key": "k"}]}, "metadata": {"finalizers": ["f"], "labels": {"a": "1", "b": "2"}}});
    for (patch, pointer, expected) in [
        (json!({"spec": {"containers": [{"name": "b", "image": "z"}]}}), "/spec/containers/1/image", json!("z")),
        (
            json!({"spec": {"containers": [{"name": "b", "$patch": "delete"}]}}),
            "/spec/containers",
            json!([{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "c"}], "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]}}),
            "/spec/containers/0/name",
            json!("c"),
        ),
        (json!({"spec": {"tolerations": [{"key": "l"}]}}), "/spec/tolerations", json!([{"key": "l"}])),
        (json!({"metadata": {"labels": {"a": null, "c": "3"}}}), "/metadata/labels", json!({"b": "2", "c": "3"})),
        (json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}), "/metadata/labels", json!({"c": "3"})),
        (json!({"metadata": {"finalizers": ["g"]}}), "/metadata/finalizers", json!(["f", "g"])),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["f"]}}), "/metadata/finalizers", json!([])),
    ] {
        let result = strategic("Pod", &live, &patch).unwrap();
        assert_eq!(result.pointer(pointer).unwrap(), &expected, "{patch}");
    }
    assert!(matches!(
        strategic("Pod", &live, &json!({"spec": {"containers": [{"image": "q"}]}})),
        Err(Refusal::BadRequest(_))
    ));
}

#[test]
fn ownership_follows_who_changed_what() {
    let mut object = json!({"metadata": {"name": "x", "labels": {"a": "1"}}, "spec": {"replicas": 1}});
    update_managed("Deployment", None, &mut object, &who("one"));
    assert_eq!(
        object["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:replicas": {}}})
    );
    let before = object.clone();
    object["spec"]["replicas"] = json!(2);
    update_managed("Deployment", Some(&before), &mut object, &who("two"));
    let all = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["fieldsV1"], json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}));
    assert_eq!(all[1]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn apply_conflicts_shares_and_forgets() {
    let first = apply(
        "Deployment",
        None,
        &json!({"metadata": {"name": "x"}, "spec": {"replicas": 1, "paused": true}}),
        &who("one"),
        false,
    )
    .unwrap();
    let same = apply(
        "Deployment",
        Some(&first),
        &json!({"metadata": {"name": "x"}, "spec": {"replicas": 1}}),
        &who("two"),
        false,
    )
    .unwrap();
    assert_eq!(same["metadata"]["managedFields"].as_array().unwrap().len(), 2, "one value, two owners");
    let clash = apply(
        "Deployment",
        Some(&same),
        &json!({"metadata": {"name": "x"}, "spec": {"replicas": 3}}),
        &who("two"),
        false,
    );
    let Err(Refusal::Conflict { message, causes }) = clash else { panic!("no conflict") };
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
    assert_eq!(causes, [(".spec.replicas".to_string(), "conflict with \"one\"".to_string())]);
    let forced = apply(
        "Deployment",
        Some(&same),
        &json!({"metadata": {"name": "x"}, "spec": {"replicas": 3}}),
        &who("two"),
        true,
    )
    .unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    let dropped =
        apply("Deployment", Some(&forced), &json!({"metadata": {"name": "x"}, "spec": {}}), &who("one"), false)
            .unwrap();
    assert!(dropped["spec"]["paused"].is_null(), "what nobody applies any more is gone: {dropped}");
    assert_eq!(dropped["spec"]["replicas"], 3);
}
