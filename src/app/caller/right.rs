//! What a caller may do beside reading the log and changing policies.

/// A right of a caller: a method of the services, or something within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To have one question answered.
    Authorize,
    /// To have many answered at once.
    BatchAuthorize,
    /// To have resources searched.
    SearchResources,
    /// To be told what a token says.
    GetTokenInfo,
    /// To name the subject of a question, in place of a token that shows it.
    AskForSubject,
    /// To have subjects searched.
    SearchSubjects,
    /// To have actions searched.
    SearchActions,
    /// To ask about requests as a proxy holds them back.
    CheckRequest,
    /// To read the service's metrics.
    ReadMetrics,
    /// To write and delete relationships.
    WriteRelationships,
    /// To import records of source systems.
    ImportRecords,
    /// To delete records.
    DeleteRecords,
    /// To read relationships.
    ReadRelationships,
    /// To be told the newest revision.
    GetRevision,
    /// To write an application.
    PutApplication,
    /// To read one.
    GetApplication,
    /// To list them.
    ListApplications,
    /// To delete one.
    DeleteApplication,
    /// To have a token issued.
    IssueToken,
    /// To register a token.
    RegisterToken,
    /// To end a token.
    RevokeToken,
    /// To revoke tokens by what they say.
    Revoke,
    /// To take that back.
    Reinstate,
    /// To list what is revoked.
    ListRevocations,
    /// To list the realms.
    ListRealms,
    /// To read how a realm stands.
    GetRealm,
    /// To have policies checked.
    ValidatePolicies,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 27] = [
        Self::Authorize,
        Self::BatchAuthorize,
        Self::SearchResources,
        Self::GetTokenInfo,
        Self::AskForSubject,
        Self::SearchSubjects,
        Self::SearchActions,
        Self::CheckRequest,
        Self::ReadMetrics,
        Self::WriteRelationships,
        Self::ImportRecords,
        Self::DeleteRecords,
        Self::ReadRelationships,
        Self::GetRevision,
        Self::PutApplication,
        Self::GetApplication,
        Self::ListApplications,
        Self::DeleteApplication,
        Self::IssueToken,
        Self::RegisterToken,
        Self::RevokeToken,
        Self::Revoke,
        Self::Reinstate,
        Self::ListRevocations,
        Self::ListRealms,
        Self::GetRealm,
        Self::ValidatePolicies,
    ];

    /// The type of what the policies are asked about.
    pub(super) fn resource_type(self) -> &'static str {
        match self {
            Self::Authorize
            | Self::BatchAuthorize
            | Self::SearchResources
            | Self::GetTokenInfo
            | Self::AskForSubject
            | Self::SearchSubjects
            | Self::SearchActions
            | Self::CheckRequest => "Questions",
            Self::WriteRelationships
            | Self::ImportRecords
            | Self::DeleteRecords
            | Self::ReadRelationships
            | Self::GetRevision
            | Self::PutApplication
            | Self::GetApplication
            | Self::ListApplications
            | Self::DeleteApplication
            | Self::IssueToken
            | Self::RegisterToken
            | Self::RevokeToken
            | Self::Revoke
            | Self::Reinstate
            | Self::ListRevocations => "Facts",
            Self::ReadMetrics | Self::ListRealms | Self::GetRealm | Self::ValidatePolicies => "Operations",
        }
    }

    /// The policies' action.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "Authorize",
            Self::BatchAuthorize => "BatchAuthorize",
            Self::SearchResources => "SearchResources",
            Self::GetTokenInfo => "GetTokenInfo",
            Self::AskForSubject => "AskForSubject",
            Self::SearchSubjects => "SearchSubjects",
            Self::SearchActions => "SearchActions",
            Self::CheckRequest => "CheckRequest",
            Self::ReadMetrics => "ReadMetrics",
            Self::WriteRelationships => "WriteRelationships",
            Self::ImportRecords => "ImportRecords",
            Self::DeleteRecords => "DeleteRecords",
            Self::ReadRelationships => "ReadRelationships",
            Self::GetRevision => "GetRevision",
            Self::PutApplication => "PutApplication",
            Self::GetApplication => "GetApplication",
            Self::ListApplications => "ListApplications",
            Self::DeleteApplication => "DeleteApplication",
            Self::IssueToken => "IssueToken",
            Self::RegisterToken => "RegisterToken",
            Self::RevokeToken => "RevokeToken",
            Self::Revoke => "Revoke",
            Self::Reinstate => "Reinstate",
            Self::ListRevocations => "ListRevocations",
            Self::ListRealms => "ListRealms",
            Self::GetRealm => "GetRealm",
            Self::ValidatePolicies => "ValidatePolicies",
        }
    }
}
