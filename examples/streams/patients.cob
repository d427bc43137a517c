       IDENTIFICATION DIVISION.
       PROGRAM-ID. PATIENTS.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT OUT ASSIGN TO "patients.tmp"
               ORGANIZATION IS SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  OUT.
       COPY "patient.cpy".
       WORKING-STORAGE SECTION.
       01  I PIC 9(4).
       01  J PIC 9(4).
       PROCEDURE DIVISION.
           OPEN OUTPUT OUT.
           PERFORM VARYING I FROM 1 BY 1 UNTIL I > 1000
               INITIALIZE PATIENT
               MOVE I TO PATIENT-ID
               PERFORM VARYING J FROM 1 BY 1 UNTIL J > 30
                   COMPUTE MEASURE(J) = I / 100 + J
               END-PERFORM
               WRITE PATIENT
           END-PERFORM.
           CLOSE OUT.
           STOP RUN.
