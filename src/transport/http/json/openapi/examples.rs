//! Examples of requests, for those who try.

use serde_json::{Value as Json, json};

/// The examples of a call, if it has any.
pub(super) fn of(call: &str) -> Option<Json> {
    let student = json!({ "type": "ed-fi/students", "id": "604822", "attributes": { "studentUniqueId": "604822" } });
    match call {
        "Authorize" => Some(json!({
            "read": {
                "summary": "May the holder of this token read this student?",
                "value": { "token": "ACCESS_TOKEN", "action": "Read", "resource": student },
            },
            "create": {
                "summary": "May it add this association?",
                "value": {
                    "token": "ACCESS_TOKEN",
                    "action": "Create",
                    "resource": {
                        "type": "ed-fi/studentSchoolAssociations",
                        "proposed": {
                            "schoolReference": { "schoolId": 255_901_001 },
                            "studentReference": { "studentUniqueId": "604822" },
                            "entryDate": "2026-08-24",
                        },
                    },
                },
            },
        })),
        "BatchAuthorize" => Some(json!({
            "read": {
                "summary": "Which of these students may it read?",
                "value": {
                    "defaults": { "token": "ACCESS_TOKEN", "action": "Read", "resource": { "type": "ed-fi/students" } },
                    "items": [
                        { "resource": { "id": "604822", "attributes": { "studentUniqueId": "604822" } } },
                        { "resource": { "id": "604823", "attributes": { "studentUniqueId": "604823" } } },
                    ],
                },
            },
        })),
        "SearchResources" => Some(json!({
            "within": {
                "summary": "Which students of this school may it read?",
                "value": {
                    "token": "ACCESS_TOKEN",
                    "action": "Read",
                    "resourceType": "ed-fi/students",
                    "within": { "type": "EducationOrganization", "id": "255901001" },
                    "pageSize": 100,
                },
            },
        })),
        _ => None,
    }
}
