       01  PATIENT.
           05  PATIENT-ID          PIC X(8).
           05  MEASUREMENTS.
               10  MEASURE         PIC S9(5)V9(6) COMP-3 OCCURS 30.
           05  ANSWER.
               10  BENIGN          PIC S9V9(4) COMP-3.
               10  MODEL-VERSION   PIC X(4).
